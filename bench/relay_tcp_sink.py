"""The target of idle connections: answers one byte with the same byte, then only holds on."""

from __future__ import annotations

import select
import socket
import sys


def main(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    held: dict[int, socket.socket] = {}
    while True:
        for fd, _events in poll.poll():
            if fd == listener.fileno():
                sock, _address = listener.accept()
                held[sock.fileno()] = sock
                poll.register(sock.fileno(), select.EPOLLIN)
                continue
            data = held[fd].recv(1)
            if data:
                held[fd].send(data)
            else:
                held.pop(fd).close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
