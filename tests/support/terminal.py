"""Runs a command on a pseudo-terminal and says what a person would see there.
  terminal.py COLUMNS COMMAND...     COLUMNS 0: a terminal that does not know its width; it is read as one of 80
Prints JSON: "code"; "screen", the rows that stay; "lines", every state of a row before it was erased or ended; "wrapped", what filled a
row that was too long for the terminal. Understands what Lodestone and mpirun write: text, carriage return, line feed, and "erase to the end of the row"."""
import fcntl
import json
import os
import pty
import struct
import sys
import termios
import unicodedata

ERASE = "\033[K"


class Screen:
    def __init__(self, columns):
        self.columns, self.row, self.at = columns, [], 0
        self.screen, self.lines, self.wrapped = [], [], []

    def text(self):
        return "".join(self.row).rstrip()

    def end_row(self):
        self.lines.append(self.text())
        self.screen.append(self.text())
        self.row, self.at = [], 0

    def put(self, char):
        if self.at + (2 if unicodedata.east_asian_width(char) in "WF" else 1) > self.columns:
            self.wrapped.append(self.text())
            self.end_row()
        self.row[self.at:self.at + 1] = [char]
        self.at += 1

    def feed(self, text):
        at = 0
        while at < len(text):
            if text.startswith(ERASE, at):
                if self.text():
                    self.lines.append(self.text())
                del self.row[self.at:]
                at += len(ERASE)
                continue
            if text[at] == "\r":
                self.at = 0
            elif text[at] == "\n":
                self.end_row()
            else:
                self.put(text[at])
            at += 1


def main():
    columns = int(sys.argv[1])
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
        os.execvp(sys.argv[2], sys.argv[2:])
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the last process has closed it
            break
        if not part:
            break
        written += part
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    screen = Screen(columns or 80)
    screen.feed(written.decode())
    if screen.text():
        screen.end_row()
    print(json.dumps({"code": code, "screen": screen.screen, "lines": screen.lines, "wrapped": screen.wrapped}))


main()
