"""A hostile client: attacks the agent in one way until its time is over, then prints what it did as JSON.

The plan comes from standard input. Every attack is bounded in connections and in time.
"""
import collections
import heapq
import itertools
import json
import selectors
import socket
import struct
import sys
import time

plan = json.load(sys.stdin)
sent = most_open = closed = blocked = 0
answers = collections.Counter()


def connect(patience=5):
    connection = socket.socket(socket.AF_UNIX)
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", patience, 0))
    connection.connect(plan["socket"])
    return connection


def is_over():
    return time.monotonic() >= plan["until"]


def tally(lines):
    for line in lines.splitlines():
        answer = json.loads(line)
        answers[answer.get("code", "ok")] += 1


def half_sent():
    """Opens many connections, sends a large part of a message over each, and waits until the agent closes them."""
    global sent, most_open, closed
    half = b'{"action":"getToken","app":"' + b"x" * 250_000
    while not is_over():
        selector = selectors.DefaultSelector()
        for _ in range(plan["half_sent"]):
            connection = connect()
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, 0)
        round_ends = time.monotonic() + 12
        while selector.get_map() and not is_over() and time.monotonic() < round_ends:
            most_open = max(most_open, len(selector.get_map()))
            for key, events in selector.select(0.1):
                try:
                    if events & selectors.EVENT_WRITE:
                        done = key.data + key.fileobj.send(half[key.data :])
                        sent += done == len(half)
                        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if done < len(half) else 0)
                        selector.modify(key.fileobj, wanted, done)
                    elif not key.fileobj.recv(65536):
                        raise ConnectionError
                except BlockingIOError:
                    pass
                except OSError:
                    closed += 1
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
        for key in list(selector.get_map().values()):
            key.fileobj.close()
        selector.close()
        time.sleep(0.5)


def swarm(count, pause, message):
    """Keeps many connections busy: each sends a request, waits for its answer, pauses, and sends the next."""
    global sent, most_open, closed
    selector = selectors.DefaultSelector()
    numbers = itertools.count()
    ready = [(0.0, number, None) for number in range(count)]
    while not is_over():
        while ready and ready[0][0] <= time.monotonic():
            _, order, connection = heapq.heappop(ready)
            try:
                if connection is None:
                    connection = connect()
                    selector.register(connection, selectors.EVENT_READ, (order, []))
                    most_open = max(most_open, len(selector.get_map()))
                connection.sendall(message(next(numbers)).encode())
                sent += 1
            except OSError:
                closed += 1
                if connection is not None:
                    selector.unregister(connection)
                    connection.close()
                heapq.heappush(ready, (time.monotonic() + pause, order, None))
        for key, _ in selector.select(0.02):
            order, parts = key.data
            try:
                part = key.fileobj.recv(65536)
            except OSError:
                part = b""
            parts.append(part)
            if part.endswith(b"\n"):
                tally(b"".join(parts))
                parts.clear()
                heapq.heappush(ready, (time.monotonic() + pause, order, key.fileobj))
            elif not part:
                closed += 1
                selector.unregister(key.fileobj)
                key.fileobj.close()
                heapq.heappush(ready, (time.monotonic() + pause, order, None))


def wrong_unlocks():
    swarm(200, 0.1, lambda number: json.dumps({"action": "unlock", "passphrase": f"wrong {number}"}))


def owners():
    swarm(600, 0.2, lambda number: json.dumps({"action": "getToken", "owner": f"stranger-{number}"}))


def expensive_keys():
    request = json.dumps({"action": "checkKey", "key": plan["key"], "passphrase": "wrong"})
    swarm(40, 0.2, lambda _: request)


def flood():
    """Floods pings and status requests and never reads the answers; between that, sends messages of the worst sizes."""
    global sent, most_open, closed, blocked
    pings = (json.dumps({"action": "ping"}) + json.dumps({"action": "status"})).encode() * 500
    too_large = b'{"action":"ping","x":"' + b"x" * 300_000
    names = {f"permission_{number}": "read" for number in range(10_000)}
    many_names = json.dumps({"action": "getToken", "permissions": names}, separators=(",", ":")).encode()
    deaf = {}
    while not is_over():
        while len(deaf) < 20:
            connection = connect()
            connection.setblocking(False)
            deaf[connection] = 0
        most_open = max(most_open, len(deaf))
        for connection in list(deaf):
            try:
                while not is_over():
                    done = deaf[connection] + connection.send(pings[deaf[connection] :])
                    sent += done == len(pings)
                    deaf[connection] = done % len(pings)
            except BlockingIOError:
                blocked += 1
            except OSError:
                closed += 1
                del deaf[connection]
                connection.close()
        for message in (too_large, many_names):
            with connect() as connection:
                try:
                    connection.sendall(message)
                except OSError:
                    pass
                try:
                    tally(connection.recv(65536))
                except OSError:
                    closed += 1
        time.sleep(0.2)


attacks = {attack.__name__: attack for attack in (half_sent, wrong_unlocks, owners, expensive_keys, flood)}
attacks[plan["attack"]]()
print(json.dumps({"sent": sent, "most_open": most_open, "closed": closed, "blocked": blocked, "answers": answers}))
