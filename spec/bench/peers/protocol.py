"""The line protocol between the bench and a peer, a long-lived process.

The bench writes a line and waits for one; in between, the peer is blocked on its
input and uses no processor. Words are separated by tabs.

    (at the start)               ready <TAB> NAME VERSION, …     or  missing <TAB> reason
    load <TAB> WORKLOAD <TAB> FORM <TAB> FILE                    ok  or  no <TAB> reason
    check <TAB> WORKLOAD <TAB> FORM                              ok <TAB> number number …
    run <TAB> WORKLOAD <TAB> FORM <TAB> STEPS                    ok <TAB> seconds for all of them
    feed <TAB> WORKLOAD <TAB> FORM <TAB> FILE                    ok: has read the batches of the next steps
    infer <TAB> WORKLOAD <TAB> FORM <TAB> PICTURES <TAB> FILE    ok: their parameters are in that .npy
    resident                                                     ok <TAB> most bytes resident so far
    drop                                                         ok: forgets what was loaded

FILE is the .npz that simvae wrote: the same weights and data for everyone.
"""
import contextlib
import os
import resource
import sys
import time
import traceback


def threads():
    """The cores to use: the bench says how many; the process then sees no others."""
    n = int(os.environ.get("BENCH_THREADS", "2"))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n])
    return n


def open_lines():
    """Keeps standard output for the protocol; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return out


def product_shapes(workload):
    """Of the factors as they are stored, and of the product: gemm-MxNxK, -at and -bt for a factor stored transposed."""
    words = workload.split("-")
    m, n, k = (int(s) for s in words[1].split("x")) if len(words) > 1 else (1536, 1536, 1536)
    return (k, m) if "at" in words else (m, k), (n, k) if "bt" in words else (k, n), (m, n)


def one_line(text):
    return " ".join(str(text).split())[:400]


@contextlib.contextmanager
def needed(out):
    """Around a peer's imports: says which package is missing, and ends the process."""
    try:
        yield
    except ImportError as error:
        print("missing\t" + one_line(error), file=out, flush=True)
        raise SystemExit from None


def serve(versions, load, out, forget=lambda: None):
    """Answers until the input ends.

    load(workload, form, file) -> an object with run(steps), which leaves nothing
    unfinished behind, and check() -> numbers. forget() is called when all were dropped.
    """
    print("ready\t" + versions, file=out, flush=True)
    loaded = {}
    for line in sys.stdin:
        words = line.rstrip("\n").split("\t")
        try:
            answer = act(words, loaded, load, forget)
        except Exception as error:  # the bench goes on without this form
            traceback.print_exc()
            answer = "no\t" + one_line(f"{type(error).__name__}: {error}")
        print(answer, file=out, flush=True)


def act(words, loaded, load, forget):
    what = words[0]
    if what == "load":
        loaded[words[1], words[2]] = load(words[1], words[2], words[3])
        return "ok"
    if what == "check":
        return "ok\t" + " ".join("%.9g" % v for v in loaded[words[1], words[2]].check())
    if what == "run":
        work, steps = loaded[words[1], words[2]], int(words[3])
        clock = time.process_time if os.environ.get("BENCH_CLOCK") == "cpu" else time.perf_counter
        start = clock()
        work.run(steps)
        return "ok\t%.9f" % (clock() - start)
    if what in ("feed", "infer"):
        getattr(loaded[words[1], words[2]], what)(*words[3:])
        return "ok"
    if what == "resident":
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return "ok\t%d" % (most if sys.platform == "darwin" else most * 1024)
    if what == "drop":
        loaded.clear()
        forget()
        return "ok"
    return "no\tunknown request " + what


class Calls:
    """A workload that is one function call a step."""

    def __init__(self, step, check=lambda: []):
        self.step, self.check = step, check

    def run(self, steps):
        for _ in range(steps):
            self.step()
