//! Firewalls: they make the kernel refuse what is banned. Five verbs: open, replace_all, ban, unban, close.
