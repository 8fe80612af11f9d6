"""An honest client: sends requests in a random order and prints a line of JSON for each answer.

The plan comes from standard input. Its mode is `stay` (one connection), `anew` (a connection for each request) or
`command` (a process for each request).
"""
import json
import random
import socket
import struct
import subprocess
import sys
import time

# Longer than the agent may take for anything: a client that has waited this long reports that there is no answer.
PATIENCE = 60

plan = json.load(sys.stdin)
questions = plan["questions"]
weights = [question["weight"] for question in questions]
chance = random.Random(plan["seed"])
connection = None


def ask(request):
    global connection
    if connection is None:
        connection = socket.socket(socket.AF_UNIX)
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PATIENCE, 0))
        connection.connect(plan["socket"])
    connection.sendall(json.dumps(request).encode())
    answer = b""
    while not answer.endswith(b"\n"):
        part = connection.recv(65536)
        if not part:
            raise OSError("the connection was closed without an answer")
        answer += part
    if plan["mode"] == "anew":
        hang_up()
    return {"answer": json.loads(answer)}


def hang_up():
    global connection
    if connection is not None:
        connection.close()
        connection = None


def run(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE)
    return {"exit": done.returncode, "stdout": done.stdout.strip(), "stderr": done.stderr.strip()}


while time.monotonic() < plan["until"]:
    question = chance.choices(questions, weights)[0]
    line = {"question": question["index"], "at": time.time(), "sent": time.monotonic()}
    try:
        line |= run([plan["program"], *question["arguments"]]) if plan["mode"] == "command" else ask(question["request"])
    except (OSError, subprocess.TimeoutExpired) as error:
        hang_up()
        line["failed"] = str(error)
    line["received"] = time.monotonic()
    print(json.dumps(line), flush=True)
    time.sleep(plan["pause"])
