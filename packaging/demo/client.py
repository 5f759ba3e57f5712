#!/usr/bin/env python3
"""client.py FROM HOST USER PASSWORD [TRIES] - logs in by SMTP from the address FROM, TRIES times on one connection.

Prints one word a try: `in`, `refused` (wrong password), `cut` (the connection broke or went silent), and
`no-connection` where none could be made. Exit status 0 if the last try got in, 1 otherwise.
"""
import base64
import socket
import sys
import time


def main():
    source, host, user, password = sys.argv[1:5]
    tries = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    try:
        link = socket.create_connection((host, 25), timeout=2, source_address=(source, 0))
    except OSError:
        print("no-connection")
        return 1
    answer = ""
    with link, link.makefile("rb") as lines:
        try:
            lines.readline()
            link.sendall(b"EHLO client.example.org\r\n")
            while lines.readline()[3:4] == b"-":
                pass
            for _ in range(tries):
                secret = base64.b64encode(b"\0%s\0%s" % (user.encode(), password.encode()))
                link.sendall(b"AUTH PLAIN " + secret + b"\r\n")
                answer = lines.readline()[:3].decode()
                print({"235": "in", "535": "refused"}.get(answer, "cut"), flush=True)
                if not answer:
                    return 1
                time.sleep(0.2)
            link.sendall(b"QUIT\r\n")
        except OSError:
            print("cut")
            return 1
    return 0 if answer == "235" else 1


sys.exit(main())
