"""Appends COUNT failed logins of up to a million addresses to LOG, at most a million a second: flood.py LOG COUNT"""

import sys
import time

sys.dont_write_bytecode = True
import loggen  # noqa: E402

BLOCK = 50_000


def main():
    path, count = sys.argv[1], int(sys.argv[2])
    # Made once, so that the writer is no slower than the flood.
    blocks = []
    for n in range(0, min(count, 1_000_000), BLOCK):
        text = []
        stamp = loggen.stamp(time.time())
        for who in range(n, n + BLOCK):
            text.append("%s mail postfix/smtpd[4711]: warning: unknown[%d.%d.%d.%d]: SASL LOGIN authentication failed: "
                        "authentication failure\n" % (stamp, 20 + (who >> 24), (who >> 16) & 255, (who >> 8) & 255, who & 255))
        blocks.append("".join(text).encode())
    with open(path, "ab", buffering=0) as out:
        for at in range(0, count, BLOCK):
            begun = time.monotonic()
            out.write(blocks[at // BLOCK % len(blocks)])
            time.sleep(max(0, BLOCK / 1e6 - (time.monotonic() - begun)))


main()
