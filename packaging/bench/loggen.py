"""Mail logs for measuring: seeded, so that two runs read the same lines."""

import ipaddress
import random
import time

START = 1_793_491_200  # 2026-11-01 00:00:00 UTC

# What a mail host writes all day; {h} a host name, {a} an address, {u} an account, {n} a number, {q} a queue id.
ORDINARY = [
    "postfix/smtpd[{n}]: connect from {h}[{a}]",
    "postfix/smtpd[{n}]: disconnect from {h}[{a}] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
    "postfix/submission/smtpd[{n}]: Anonymous TLS connection established from {h}[{a}]: TLSv1.3 with cipher X",
    "postfix/cleanup[{n}]: {q}: message-id=<{n}.{q}@example.org>",
    "postfix/qmgr[{n}]: {q}: from=<{u}@example.org>, size={n}, nrcpt=1 (queue active)",
    "postfix/lmtp[{n}]: {q}: to=<{u}@example.org>, relay=127.0.0.1[127.0.0.1]:24, delay=0.4, dsn=2.0.0, status=sent",
    "postfix/qmgr[{n}]: {q}: removed",
    "amavis[{n}]: ({n}-01) Passed CLEAN, [{a}] <{u}@example.org> -> <{u}@example.org>, Hits: 0.1, size: {n}",
    "dovecot: imap({u})<{n}><{q}>: Disconnected: Logged out in={n} out={n} deleted=0 expunged=0",
    "cyrus/imap[{n}]: USAGE {u} user: 0.01 sys: 0.00",
    "CRON[{n}]: (root) CMD (test -x /usr/sbin/anacron)",
]
SUCCESS = [
    "dovecot: imap-login: Login: user=<{u}@example.org>, method=PLAIN, rip={a}, lip=192.0.2.10, mpid={n}, TLS, session=<{q}>",
    "cyrus/imaps[{n}]: login: {h} [{a}] {u} PLAIN+TLS User logged in SESSIONID=<{q}>",
    "postfix/submission/smtpd[{n}]: {q}: client={h}[{a}], sasl_method=PLAIN, sasl_username={u}",
    "sshd[{n}]: Accepted publickey for {u} from {a} port {n} ssh2: ED25519 SHA256:x",
]
FAILURE = [
    "postfix/smtps/smtpd[{n}]: warning: {h}[{a}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username={u}",
    "postfix/submission/smtpd[{n}]: warning: unknown[{a}]: SASL PLAIN authentication failed: authentication failure, sasl_username={u}",
    "dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<{u}>, method=PLAIN, rip={a}, lip=192.0.2.10, TLS, session=<{q}>",
    "cyrus/imaps[{n}]: badlogin: {h} [{a}] PLAIN [SASL(-13): authentication failure: Password verification failed]",
    "sshd[{n}]: Failed password for invalid user {u} from {a} port {n} ssh2",
]


def stamp(epoch):
    return time.strftime("%b %e %H:%M:%S", time.gmtime(epoch))


def lines(count, failures, attackers=500, seed=1, per_second=50, start=START):
    """`count` lines, of which the share `failures` are failed logins and about as many good ones."""
    dice = random.Random(seed)
    address = lambda: str(ipaddress.ip_address(dice.getrandbits(32) | 0x01000000)) if dice.random() < 0.85 else \
        str(ipaddress.ip_address((0x2A01 << 112) | dice.getrandbits(108)))
    bad = [address() for _ in range(attackers)]
    good = [address() for _ in range(2000)]
    users = ["user%d" % dice.randrange(20000) for _ in range(20000)]
    for at in range(count):
        draw = dice.random()
        kind, who = (FAILURE, bad) if draw < failures else (SUCCESS, good) if draw < failures * 2 else (ORDINARY, good)
        ip = dice.choice(who)
        text = dice.choice(kind).format(
            h="host-%s.example.net" % ip.replace(".", "-").replace(":", "-"), a=ip, u=dice.choice(users),
            n=dice.randrange(1000, 60000), q="%012X" % dice.getrandbits(48))
        yield "%s mail %s\n" % (stamp(start + at // per_second), text)


def burst(count, attackers, start, share=1.0):
    """`count` lines of one moment, of which `share` are failed SASL logins of `attackers` addresses in turn."""
    dice = random.Random(2)
    failed = 0
    for at in range(count):
        if failed >= (at + 1) * share:
            ip = "192.0.2.%d" % dice.randrange(1, 255)
            yield "%s mail %s\n" % (stamp(start), dice.choice(ORDINARY).format(
                h="host.example.net", a=ip, u="user%d" % dice.randrange(20000), n=dice.randrange(1000, 60000),
                q="%012X" % dice.getrandbits(48)))
            continue
        n = failed % attackers
        failed += 1
        ip = "198.%d.%d.%d" % (18 + (n >> 16), (n >> 8) & 255, n & 255)
        yield "%s mail postfix/smtpd[4711]: warning: unknown[%s]: SASL LOGIN authentication failed: authentication failure\n" \
            % (stamp(start), ip)
