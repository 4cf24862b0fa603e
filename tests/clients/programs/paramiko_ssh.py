"""paramiko: an SSH server and client in one process: a command, its exit status, a forwarded port refused."""

from __future__ import annotations

import socket
import threading

import paramiko


class Server(paramiko.ServerInterface):
    def check_auth_password(self, username, password):
        good = (username, password) == ("user", "secret")
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=self.run, args=(channel, command)).start()
        return True

    def run(self, channel, command):
        data = b"".join(iter(lambda: channel.recv(65536), b""))
        channel.sendall(command.upper() + b" %d" % len(data))
        channel.sendall_stderr(b"warning")
        channel.send_exit_status(7)
        channel.close()


key = paramiko.ECDSAKey.generate()
listener = socket.create_server(("127.0.0.1", 0))


def serve():
    connection, _ = listener.accept()
    transport = paramiko.Transport(connection)
    transport.add_server_key(key)
    transport.start_server(server=Server())
    transport.join()
    connection.close()


thread = threading.Thread(target=serve)
thread.start()
with paramiko.SSHClient() as client:
    port = listener.getsockname()[1]
    client.get_host_keys().add(f"[127.0.0.1]:{port}", key.get_name(), key)
    client.connect("127.0.0.1", port, "user", "secret", allow_agent=False, look_for_keys=False, timeout=30)
    stdin, stdout, stderr = client.exec_command("count")
    stdin.write(b"x" * 300_000)
    stdin.channel.shutdown_write()
    print(stdout.read(), stderr.read(), stdout.channel.recv_exit_status())
thread.join()
listener.close()
