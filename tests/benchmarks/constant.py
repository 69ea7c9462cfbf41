"""A server that answers every request with the same bytes, for tests of the load generator.

python constant.py KIND prints its port and serves until it is ended. A request is what one recv gives.
"""

import select
import socket
import sys
import time

BODY = b'{"predictions":[{"id":"1","prediction":"<=50K","confidence":0.9}]}'
GOOD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
ANSWERS = {
    "good": GOOD,
    "closing": GOOD.replace(b"\r\nContent", b"\r\nConnection: close\r\nContent"),
    "busy": GOOD.replace(b"200 OK", b"503 Service Unavailable"),
    "short": GOOD.replace(b"Length: %d" % len(BODY), b"Length: %d" % (len(BODY) + 9)),
    "long": GOOD + b"more",
    "no length": GOOD.replace(b"Content-Length", b"X-Length"),
    "no prediction": GOOD.replace(b"prediction", b"divination"),
    "no http": b"SSH-2.0-OpenSSH\r\n\r\n",
    "hangs up": b"",
}


def main(kind: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    links: dict[int, socket.socket] = {}
    slow = kind == "stalls"
    answer = ANSWERS.get(kind, GOOD)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                link, _ = listener.accept()
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                links[link.fileno()] = link
                poll.register(link.fileno(), select.EPOLLIN)
                continue
            link = links[number]
            data = link.recv(1 << 16)
            if data and kind == "two parts":
                link.send(answer[:60])
                time.sleep(0.001)
                link.send(answer[60:])
            elif data and answer:
                link.send(answer)
                if slow:  # after an answer, not after somebody looked whether it listens
                    time.sleep(0.5)
                    slow = False
            if not data or not answer or kind == "closing":
                poll.unregister(number)
                del links[number]
                link.close()


if __name__ == "__main__":
    main(sys.argv[1])
