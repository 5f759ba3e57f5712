//! What portero remembers over a restart: the journal, and sled brought up to date from it.
