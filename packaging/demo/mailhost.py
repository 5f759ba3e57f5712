#!/usr/bin/env python3
"""mailhost.py LOG - the mail host of the quickstart: a few lines of SMTP on port 25 and 587.

It speaks just enough of the protocol for a login (EHLO, AUTH PLAIN, QUIT) and writes what Postfix writes
about it to LOG. One thread a connection; it ends with its parent.
"""
import base64
import datetime
import os
import socket
import socketserver
import sys
import threading

PASSWORDS = {"alice@example.org": "correct horse", "carol@example.org": "battery staple"}
log_lock = threading.Lock()


def log(text):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
    line = "%s mail postfix/smtpd[%d]: %s\n" % (now, os.getpid(), text)
    with log_lock, open(sys.argv[1], "a") as out:
        out.write(line)


class Session(socketserver.StreamRequestHandler):
    timeout = 60

    def handle(self):
        peer = self.client_address[0].removeprefix("::ffff:")
        log("connect from unknown[%s]" % peer)
        try:
            self.talk(peer)
        except (OSError, ValueError):
            log("lost connection after AUTH from unknown[%s]" % peer)

    def say(self, text):
        self.wfile.write((text + "\r\n").encode())

    def talk(self, peer):
        self.say("220 mail.example.org ESMTP")
        while line := self.rfile.readline(4096):
            words = line.decode("latin-1").split()
            verb = words[0].upper() if words else ""
            if verb == "EHLO":
                self.say("250-mail.example.org")
                self.say("250 AUTH PLAIN")
            elif verb == "AUTH" and len(words) == 3:
                _, user, password = base64.b64decode(words[2]).decode().split("\0")
                if PASSWORDS.get(user) == password:
                    self.say("235 2.7.0 Authentication successful")
                    log("0123456789: client=unknown[%s], sasl_method=PLAIN, sasl_username=%s" % (peer, user))
                else:
                    log("warning: unknown[%s]: SASL PLAIN authentication failed: authentication failure, "
                        "sasl_username=%s" % (peer, user))
                    self.say("535 5.7.8 Error: authentication failed")
            elif verb == "QUIT":
                self.say("221 2.0.0 Bye")
                log("disconnect from unknown[%s] ehlo=1 quit=1 commands=2" % peer)
                return
            else:
                self.say("502 5.5.2 Error: command not recognized")


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    servers = [Server(("::", port), Session) for port in (25, 587)]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
