//! Socket address families, `AF_*` of `linux/socket.h`; what `-F saddr_fam` compares.

use crate::lookup;

/// Number to name.
#[must_use]
pub fn address_family_name(number: u32) -> Option<&'static str> {
    lookup::by_number(ROWS, number)
}

/// Name to number, in any case.
#[must_use]
pub fn address_family_number(name: &str) -> Option<u32> {
    lookup::by_name(ROWS, name)
}

/// `AF_MAX`: the first number that is no family.
pub const ADDRESS_FAMILY_END: u32 = 46;

const ROWS: &[(u32, &str)] = &[
    (0, "unspec"),
    (1, "local"),
    (2, "inet"),
    (3, "ax25"),
    (4, "ipx"),
    (5, "appletalk"),
    (6, "netrom"),
    (7, "bridge"),
    (8, "atmpvc"),
    (9, "x25"),
    (10, "inet6"),
    (11, "rose"),
    (12, "decnet"),
    (13, "netbeui"),
    (14, "security"),
    (15, "key"),
    (16, "netlink"),
    (17, "packet"),
    (18, "ash"),
    (19, "econet"),
    (20, "atmsvc"),
    (21, "rds"),
    (22, "sna"),
    (23, "irda"),
    (24, "pppox"),
    (25, "wanpipe"),
    (26, "llc"),
    (27, "ib"),
    (28, "mpls"),
    (29, "can"),
    (30, "tipc"),
    (31, "bluetooth"),
    (32, "iucv"),
    (33, "rxrpc"),
    (34, "isdn"),
    (35, "phonet"),
    (36, "ieee802154"),
    (37, "caif"),
    (38, "alg"),
    (39, "nfc"),
    (40, "vsock"),
    (41, "kcm"),
    (42, "qipcrtr"),
    (43, "smc"),
    (44, "xdp"),
    (45, "mctp"),
];

#[cfg(test)]
mod tests {
    #[test]
    fn names_lead_back() {
        crate::lookup::assert_round_trip(super::ROWS);
    }
}
