//! The nftables backend: one table `inet portero`, over netlink.
