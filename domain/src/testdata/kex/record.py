#!/usr/bin/env python3
"""Records the clear-text start of ssh and sshd connections, one for each key exchange and host key type.

Usage: record.py [FOLDER]. Needs root (sshd) and OpenSSH; writes NAME.client and NAME.server, each up to and with the
first encrypted bytes after NEWKEYS, the public halves of the host keys and of the certificate authority, and the
fingerprints of the host keys.
"""
import os, shutil, socket, subprocess, sys, tempfile, threading

ENCRYPTED = 64  # bytes kept after NEWKEYS


def cut(stream):
    """The stream up to NEWKEYS and ENCRYPTED bytes more."""
    at = stream.index(b"\n") + 1
    while True:
        length = int.from_bytes(stream[at:at + 4], "big")
        message = stream[at + 5]
        at += 4 + length
        if message == 21:
            return stream[:at + ENCRYPTED]


def pump(source, target, record):
    while data := source.recv(65536):
        record += data
        target.sendall(data)
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def record(folder, name, port, options):
    listener = socket.create_server(("127.0.0.1", 0))
    relay = listener.getsockname()[1]
    client = subprocess.Popen(
        ["ssh", "-F", "none", "-p", str(relay), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
         "-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null", *options, "nobody@127.0.0.1", "true"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    near, _ = listener.accept()
    far = socket.create_connection(("127.0.0.1", port))
    sent, received = bytearray(), bytearray()
    threads = [threading.Thread(target=pump, args=a) for a in ((near, far, sent), (far, near, received))]
    for thread in threads:
        thread.start()
    client.wait()
    for thread in threads:
        thread.join()
    for suffix, stream in (("client", sent), ("server", received)):
        with open(os.path.join(folder, f"{name}.{suffix}"), "wb") as file:
            file.write(cut(bytes(stream)))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    work = tempfile.mkdtemp()
    keygen = lambda *words: subprocess.run(["ssh-keygen", "-q", *words], check=True)
    keys = []
    for kind in ("ed25519", "ecdsa", "rsa", "ca"):
        path = os.path.join(work, kind)
        keygen("-t", "ed25519" if kind == "ca" else kind, "-N", "", "-C", kind, "-f", path)
        shutil.copy(path + ".pub", os.path.join(folder, kind + ".pub"))
        if kind != "ca":
            keys.append(path)
    with open(os.path.join(folder, "fingerprints"), "w") as file:
        for key in keys:
            file.write(subprocess.run(["ssh-keygen", "-l", "-f", key], check=True, capture_output=True, text=True).stdout)
    keygen("-s", os.path.join(work, "ca"), "-h", "-I", "host", "-n", "i-0123456789abcdef0,web-1", "-z", "7",
           "-V", "20260101000000Z:20270101000000Z", keys[0] + ".pub")
    shutil.copy(keys[0] + "-cert.pub", folder)
    kexes = subprocess.run(["ssh", "-Q", "kex"], check=True, capture_output=True, text=True).stdout.split()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = os.path.join(work, "sshd_config")
    with open(config, "w") as file:
        file.write(f"ListenAddress 127.0.0.1:{port}\nPidFile none\nUsePAM no\nHostKeyAlgorithms +ssh-rsa\n")
        file.write(f"KexAlgorithms {','.join(kexes)}\nHostCertificate {keys[0]}-cert.pub\n")
        file.writelines(f"HostKey {key}\n" for key in keys)
    os.makedirs("/run/sshd", exist_ok=True)
    server = subprocess.Popen([shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-f", config], stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                pass
        for kex in kexes:
            record(folder, kex, port, ["-o", f"KexAlgorithms={kex}", "-o", "HostKeyAlgorithms=ssh-ed25519"])
        for algorithm in ("ssh-ed25519-cert-v01@openssh.com", "rsa-sha2-512", "ecdsa-sha2-nistp256"):
            record(folder, "key-" + algorithm, port, ["-o", f"HostKeyAlgorithms={algorithm}"])
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(work)


main()
