//! Batches as bytes. Numbers in headers are in this machine's order; the bytes below are a little-endian machine's.

use super::*;
use crate::firewall::nftables::layout::{self, Kind};

/// Bytes out of words of hexadecimal; `'text'` stands for itself with a NUL, padded to four.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        if let Some(name) = word.strip_prefix('\'') {
            out.extend_from_slice(name.trim_end_matches('\'').as_bytes());
            out.push(0);
            while !out.len().is_multiple_of(4) {
                out.push(0);
            }
            continue;
        }
        for at in (0..word.len()).step_by(2) {
            out.push(u8::from_str_radix(&word[at..at + 2], 16).unwrap());
        }
    }
    out
}

fn secs(secs: u64) -> Span {
    Span::For(Duration::from_secs(secs))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[cfg(target_endian = "little")]
#[test]
fn a_ban_is_one_message_between_begin_and_end() {
    let want = bytes(
        "14000000 1000 0100 01000000 00000000 0000000a
         4c000000 0c0a 0504 02000000 00000000 01000000
           0c00 0100 'portero'
           0a00 0200 'sshd4'
           2000 0380
             1c00 0180
               0c00 0180 0800 0100 cb007107
               0c00 0400 000000000036ee80
         14000000 1100 0100 03000000 00000000 0000000a",
    );
    assert_eq!(encode_bans("sshd4", std::iter::once((ip("203.0.113.7"), secs(3600)))), want);
}

#[cfg(target_endian = "little")]
#[test]
fn an_unban_names_the_key_alone_and_a_ban_for_ever_has_no_time() {
    let mut batch = Batch::new(1);
    batch.elements(Op::Destroy, "a6", std::iter::once((0, Element::remove(ip("2001:db8::1")))));
    batch.elements(Op::Add, "a6", std::iter::once((0, Element::ban(ip("2001:db8::1"), Span::Forever))));
    let key = "2001 0db8 0000 0000 0000 0000 0000 0001";
    let element = format!("2000 0380 1c00 0180 1800 0180 1400 0100 {key}");
    let want = format!(
        "14000000 1000 0100 01000000 00000000 0000000a
         48000000 1e0a 0100 02000000 00000000 01000000 0c00 0100 'portero' 0700 0200 'a6' {element}
         48000000 0c0a 0504 03000000 00000000 01000000 0c00 0100 'portero' 0700 0200 'a6' {element}
         14000000 1100 0100 04000000 00000000 0000000a"
    );
    assert_eq!(batch.close().bytes, bytes(&want));
}

#[cfg(target_endian = "little")]
#[test]
fn an_interval_is_a_start_with_time_and_name_and_an_end_after_it() {
    let mut batch = Batch::new(7);
    let net = "10.0.0.0/8";
    let start = Element { comment: Some(net), ..Element::ban(ip("10.0.0.0"), secs(60)) };
    let both = [(0, start), (0, Element::end(ip("11.0.0.0")))];
    batch.elements(Op::Add, "a4-net", both.into_iter());
    let want = bytes(
        "14000000 1000 0100 07000000 00000000 0000000a
         78000000 0c0a 0504 08000000 00000000 01000000
           0c00 0100 'portero'
           0b00 0200 'a4-net'
           4c00 0380
             3000 0180
               0c00 0180 0800 0100 0a000000
               0c00 0400 000000000000ea60
               1100 0600 000b 31302e302e302e302f38 00 000000
             1800 0180
               0c00 0180 0800 0100 0b000000
               0800 0300 00000001
         14000000 1100 0100 09000000 00000000 0000000a",
    );
    assert_eq!(batch.close().bytes, want);
}

#[cfg(target_endian = "little")]
#[test]
fn table_and_set_carry_their_flags() {
    let mut batch = Batch::new(1);
    batch.add_table(6);
    batch.add_set(&SetDef { name: "a4".to_owned(), ipv4: true, kind: Kind::Hosts });
    batch.add_set(&layout::allow_set(false));
    let want = bytes(
        "14000000 1000 0100 01000000 00000000 0000000a
         28000000 000a 0104 02000000 00000000 01000000 0c00 0100 'portero' 0800 0200 00000006
         50000000 090a 0104 03000000 00000000 01000000 0c00 0100 'portero' 0700 0200 'a4'
           0800 0300 00000010 0800 0400 00000007 0800 0500 00000004 0800 0a00 00000003 0800 0c00 00007530
         4c000000 090a 0504 04000000 00000000 01000000 0c00 0100 'portero' 0c00 0200 'allow/6'
           0800 0300 00000004 0800 0400 00000008 0800 0500 00000010 0800 0a00 00000004
         14000000 1100 0100 05000000 00000000 0000000a",
    );
    // The last message asks for the acknowledgement, so the second set's flags differ.
    let closed = batch.close();
    assert_eq!((closed.acknowledged, closed.next_seq()), (4, 6));
    assert_eq!(closed.bytes, want);
}

#[test]
fn no_time_is_ever_nought_nor_beyond_a_hundred_years() {
    for (left, millis) in [
        (Duration::ZERO, 1000),
        (Duration::from_millis(999), 1000),
        (Duration::from_millis(1001), 1001),
        (Duration::MAX, 3_153_600_000_000),
    ] {
        assert_eq!(timeout_millis(left), millis);
    }
}

#[test]
fn many_bans_are_cut_into_messages_that_a_nest_can_hold() {
    let bans = (0..100_000u32).map(|n| (IpAddr::from(n.to_be_bytes()), secs(60)));
    let batch = encode_bans("mail4", bans);
    let messages: Vec<wire::Message<'_>> = wire::messages(&batch).collect();
    let mut seen = 0;
    for message in &messages[1..messages.len() - 1] {
        let (_, list) = wire::attributes(&message.payload[4..]).find(|(kind, _)| *kind == 3).unwrap();
        assert!(list.len() < 65_000);
        seen += wire::attributes(list).count();
    }
    assert_eq!(seen, 100_000);
    assert!(messages.len() < 60, "{}", messages.len());
    let asking = messages.iter().filter(|message| message.flags & NLM_F_ACK != 0).count();
    assert_eq!(asking, 1, "one acknowledgement for the whole batch");
}

#[test]
fn an_interval_is_never_parted_from_its_end() {
    let mut batch = Batch::new(1).single();
    let pairs = (0..5u8).flat_map(|n| {
        let start = Element::ban(IpAddr::from([n, 0, 0, 0]), secs(60));
        [(0, start), (0, Element::end(IpAddr::from([n, 128, 0, 0])))]
    });
    batch.elements(Op::Add, "a4-net", pairs);
    let closed = batch.close();
    let messages: Vec<wire::Message<'_>> = wire::messages(&closed.bytes).collect();
    assert_eq!(messages.len(), 7, "five intervals, begin and end");
}

#[test]
fn a_refused_element_is_found_by_the_offset_the_kernel_names() {
    let mut batch = Batch::new(1);
    batch.add_table(0);
    let elements =
        (0..3u8).map(|n| (u32::from(n) + 40, Element::ban(IpAddr::from([192, 0, 2, n]), secs(60))));
    batch.elements(Op::Add, "sshd4", elements);
    let closed = batch.close();
    // Header 20, table 12, set 12 (padded), list header 4: the first element begins at 48, each has 28 bytes.
    for (offset, ticket) in [(48, Some(40)), (75, Some(40)), (76, Some(41)), (104, Some(42)), (20, None)] {
        assert_eq!(closed.ticket(3, Some(offset)), ticket, "{offset}");
    }
    assert_eq!(closed.ticket(3, None), None);
    assert_eq!(closed.ticket(2, Some(48)), None);
}

#[test]
fn messages_of_others_are_numbered_on_and_ask_for_nothing() {
    let mut foreign = Writer::default();
    for seq in [90, 91] {
        let open = foreign.message(kind(NFT_MSG_NEWRULE), NLM_F_REQUEST | NLM_F_ACK, seq);
        generic_header(&mut foreign);
        foreign.end_message(open);
    }
    let mut batch = Batch::new(5);
    batch.messages(&foreign.bytes);
    let closed = batch.close();
    let seen: Vec<(u32, u16)> = wire::messages(&closed.bytes).map(|m| (m.seq, m.flags & NLM_F_ACK)).collect();
    assert_eq!(seen, [(5, 0), (6, 0), (7, NLM_F_ACK), (8, 0)]);
}
