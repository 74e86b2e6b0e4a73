"""An HTTP proxy of the kind that companies have: CONNECT and nothing else, and a note of every request.

usage: connect_proxy.py LOG [AWS_HOST:]AWS_PORT STATUS

Each request is a line of LOG: its first line, a tab, its Proxy-Authorization. STATUS other than 200 refuses them all.
AWS's own names, which nobody can resolve here, lead to AWS_PORT of AWS_HOST, 127.0.0.1 if there is none. The proxy's port goes to stdout.
"""

import socket
import sys
import threading

LOG, STATUS = sys.argv[1], int(sys.argv[3])
AWS_HOST, _, AWS_PORT = sys.argv[2].rpartition(":")
AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonwebservices.com.cn")
noting = threading.Lock()


def head(client):
    text = b""
    while not text.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            return []
        text += byte
    return text.decode("latin-1").split("\r\n")


def note(lines):
    said = [line.split(": ", 1)[1] for line in lines[1:] if line.lower().startswith("proxy-authorization: ")]
    with noting, open(LOG, "a", encoding="utf-8") as log:
        log.write(lines[0] + "\t" + "".join(said) + "\n")


def carry(source, sink):
    try:
        while block := source.recv(65536):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client):
    lines = head(client)
    if not lines:
        return
    note(lines)
    method, target, _ = lines[0].split(" ")
    status = STATUS if method == "CONNECT" else 405
    if status != 200:
        client.sendall(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        client.close()
        return
    host, port = target.rsplit(":", 1)
    address = (AWS_HOST or "127.0.0.1", int(AWS_PORT)) if host.endswith(AWS) else (host, int(port))
    server = socket.create_connection(address)
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    threading.Thread(target=carry, args=(server, client), daemon=True).start()
    carry(client, server)


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
