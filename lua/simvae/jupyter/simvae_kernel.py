"""The Jupyter kernel of simvae: cells run in a Lua process (simvae.jupyter), which this one drives.

    python simvae_kernel.py -f connection.json        runs the kernel, as Jupyter does
    python simvae_kernel.py install --lua lua5.4 …    writes the kernel's specification (simvae kernel install)

Standard output and error of the Lua process become streams of the cell; its events, lines of JSON on a pipe of their
own, become pictures, tables, bars of progress and results. An interrupt is SIGINT to the process group of Lua, which
leaves a training with its checkpoint written.
"""

import argparse
import codecs
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

try:
    from ipykernel.kernelbase import Kernel
except ImportError:
    sys.exit("ipykernel is missing from this Python: pip install ipykernel (Debian: python3-ipykernel)")

NAME = "simvae"
HERE = os.path.dirname(os.path.abspath(__file__))
SHARE = os.path.dirname(os.path.dirname(HERE))  # the folder of Lua modules that this file is installed in
ENDING = 20.0  # seconds that a training has to write its checkpoint when the kernel is shut down
BLOCK = 65536


def search_path(own, variable):
    """The path of Lua's modules: those of this installation first, then the user's, then Lua's own."""
    return ";".join(own + [os.environ.get(variable) or ";"])


class LuaProcess:
    """A Lua process that serves requests. It has a process group of its own, so that an interrupt reaches it once."""

    def __init__(self):
        requests, self.requests = os.pipe()
        self.events, events = os.pipe()
        environment = dict(os.environ, TERM="dumb", NO_COLOR="1", LUA_PATH=search_path(
            [SHARE + "/?.lua", SHARE + "/?/init.lua"], "LUA_PATH"))
        if os.environ.get("SIMVAE_LUA_CPATH"):
            environment["LUA_CPATH"] = search_path([os.environ["SIMVAE_LUA_CPATH"]], "LUA_CPATH")
        code = 'require("simvae.jupyter").serve("/dev/fd/%d", "/dev/fd/%d")' % (requests, events)
        try:
            self.process = subprocess.Popen(
                [os.environ.get("SIMVAE_LUA", "lua5.4"), "-e", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, pass_fds=(requests, events), env=environment, start_new_session=True)
        finally:
            os.close(requests)
            os.close(events)
        self.streams = {self.process.stdout.fileno(): "stdout", self.process.stderr.fileno(): "stderr"}
        self.decoders = {fd: codecs.getincrementaldecoder("utf-8")("replace") for fd in self.streams}
        self.pending = b""

    def send_signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def send(self, verb, text):
        data = text.encode("utf-8", "replace")
        message = b"%s %d\n%s" % (verb.encode(), len(data), data)
        while message:
            message = message[os.write(self.requests, message):]

    def acknowledge(self):
        os.write(self.requests, b"\n")

    def read_stream(self, fd, publish):
        """Publishes what there is of a stream; at its end, stops reading it."""
        data = os.read(fd, BLOCK)
        text = self.decoders[fd].decode(data, not data)
        if text:
            publish(self.streams[fd], text)
        if not data:
            del self.streams[fd]

    def drain(self, publish):
        """Publishes all that is in the streams now."""
        while True:
            ready = select.select(list(self.streams), [], [], 0)[0] if self.streams else []
            if not ready:
                return
            for fd in ready:
                self.read_stream(fd, publish)

    def next_event(self, publish):
        """The next event, or None where the process has ended; publishes streams meanwhile."""
        while b"\n" not in self.pending:
            ready = select.select([self.events, *self.streams], [], [])[0]
            for fd in ready:
                if fd in self.streams:
                    self.read_stream(fd, publish)
            if self.events in ready:
                data = os.read(self.events, BLOCK)
                if not data:
                    self.drain(publish)
                    return None
                self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        self.drain(publish)
        return json.loads(line)

    def end(self):
        """Ends the process; a training that runs writes its checkpoint first. Returns how it ended, as text."""
        if self.requests is not None:
            os.close(self.requests)
            self.requests = None
        self.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGKILL)
            code = self.process.wait()
        return signal.Signals(-code).name if code < 0 else "exit code %d" % code

    def close(self):
        how = self.end()
        os.close(self.events)
        self.process.stdout.close()
        self.process.stderr.close()
        return how


class Interrupts:
    """While a cell runs, SIGINT goes on to the Lua process."""

    def __init__(self, lua):
        self.lua = lua
        self.main = threading.current_thread() is threading.main_thread()

    def __enter__(self):
        if self.main:
            self.before = signal.signal(signal.SIGINT, lambda *_: self.lua.send_signal(signal.SIGINT))

    def __exit__(self, *_):
        if self.main:
            signal.signal(signal.SIGINT, self.before)


class SimvaeKernel(Kernel):
    implementation = NAME
    implementation_version = "1"
    banner = "simvae: learns a simulator and its inverse. ?name for help."
    language_info = {"name": "lua", "version": "5.4", "mimetype": "text/x-lua", "file_extension": ".lua",
                     "pygments_lexer": "lua", "codemirror_mode": "lua"}

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.lua = None

    # ---- the Lua process ---------------------------------------------------------------------------

    def request(self, verb, text, handle=lambda event: None, publish=lambda name, text: None):
        """Sends a request; returns its reply, or None where the process has ended."""
        if self.lua is None:
            self.lua = LuaProcess()
        try:
            self.lua.send(verb, text)
            while True:
                event = self.lua.next_event(publish)
                if event is None or event["type"] == "reply":
                    return event
                handle(event)
                self.lua.acknowledge()
        except BrokenPipeError:
            self.lua.drain(publish)
            return None

    def ended(self):
        how, self.lua = self.lua.close(), None
        return {"status": "error", "traceback": "", "text": "the Lua process has ended (%s); "
                "the next cell starts a new one, without the variables of this one" % how}

    # ---- cells -------------------------------------------------------------------------------------

    def publish(self, kind, content):
        self.send_response(self.iopub_socket, kind, content)

    def show(self, event):
        """An event of a cell as a message of Jupyter's."""
        data = event["data"]
        if event["type"] == "result":
            self.publish("execute_result", {"execution_count": self.execution_count, "data": data, "metadata": {}})
        elif event["type"] == "display":
            self.publish("display_data", {"data": data, "metadata": {}})
        elif event["type"] == "bar":
            self.publish("display_data" if event["new"] else "update_display_data", {
                "data": data, "metadata": {}, "transient": {"display_id": "%d-%d" % (
                    self.lua.process.pid, event["id"])}})

    def do_execute(self, code, silent, store_history=True, user_expressions=None, allow_stdin=False, **_):
        if self.lua is None:
            try:
                self.lua = LuaProcess()
            except OSError as error:
                return self.failed({"text": str(error), "traceback": ""}, silent)
        if silent:
            handle, publish = (lambda event: None), (lambda name, text: None)
        else:
            handle, publish = self.show, lambda name, text: self.publish("stream", {"name": name, "text": text})
        with Interrupts(self.lua):
            reply = self.request("execute", code, handle, publish)
        if reply is None:
            reply = self.ended()
        if reply["status"] == "error":
            return self.failed(reply, silent)
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}

    def failed(self, reply, silent):
        text = reply["text"]
        lines = text.split("\n") + [line for line in reply["traceback"].split("\n") if line]
        content = {"ename": "Interrupted" if reply.get("interrupted") else "Error", "evalue": text, "traceback": lines}
        if not silent:
            self.publish("error", content)
        return {"status": "error", "execution_count": self.execution_count, **content}

    # ---- completion and inspection -----------------------------------------------------------------

    def do_complete(self, code, cursor_pos):
        reply = self.request("complete", code[:cursor_pos])
        if reply is None:
            self.ended()
        if reply is None or "matches" not in reply:
            reply = {"matches": [], "typed": ""}
        return {"status": "ok", "matches": reply["matches"], "cursor_start": cursor_pos - len(reply["typed"]),
                "cursor_end": cursor_pos, "metadata": {}}

    def do_inspect(self, code, cursor_pos, detail_level=0, omit_sections=()):
        code = code.replace("\0", " ")
        reply = self.request("inspect", code[:cursor_pos] + "\0" + code[cursor_pos:])
        if reply is None:
            self.ended()
        text = reply.get("text") if reply else None
        found = text is not None and reply.get("status") != "error"
        return {"status": "ok", "found": found, "data": {"text/plain": text} if found else {}, "metadata": {}}

    def do_is_complete(self, code):
        reply = self.request("is_complete", code)
        if reply is None:
            self.ended()
        status = reply["status"] if reply and reply["status"] != "error" else "unknown"
        return {"status": status, "indent": "  "} if status == "incomplete" else {"status": status}

    def do_shutdown(self, restart):
        if self.lua is not None:
            self.lua.end()
        return {"status": "ok", "restart": restart}


def install(words):
    """Writes the kernel's specification by the means of jupyter_client."""
    from jupyter_client.kernelspec import KernelSpecManager

    parser = argparse.ArgumentParser(prog="simvae_kernel.py install")
    parser.add_argument("--lua", default="lua5.4", help="the interpreter")
    parser.add_argument("--cpath", default="", help="template of Lua's C modules")
    parser.add_argument("--prefix", help="PREFIX/share/jupyter/kernels; default: the user's folder")
    given = parser.parse_args(words)
    specification = {
        "argv": [sys.executable, os.path.abspath(__file__), "-f", "{connection_file}"],
        "display_name": "simvae (Lua 5.4)", "language": "lua", "interrupt_mode": "signal",
        # The third keeps ipykernel from warning of a debugger, which is for cells in Python.
        "env": {"SIMVAE_LUA": given.lua, "SIMVAE_LUA_CPATH": given.cpath, "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
    }
    folder = tempfile.mkdtemp()
    try:
        with open(os.path.join(folder, "kernel.json"), "w", encoding="utf-8") as file:
            json.dump(specification, file, indent=1)
        print(KernelSpecManager().install_kernel_spec(folder, NAME, user=not given.prefix, prefix=given.prefix))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["install"]:
        try:
            install(sys.argv[2:])
        except OSError as error:
            sys.exit(str(error))
    else:
        from ipykernel.kernelapp import IPKernelApp

        IPKernelApp.launch_instance(kernel_class=SimvaeKernel)
