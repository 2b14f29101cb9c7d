"""NumPy: the matrix of mutual information by histogram2d, random numbers, and the rate of its BLAS."""
import protocol

out = protocol.open_lines()
protocol.threads()
with protocol.needed(out):
    import numpy as np


def entropy(p):
    p = p[p > 0]
    return -(p * np.log(p)).sum()


def mim(z, v, bins=20):
    """MI(z_i, v_j) / H(v_j), plug-in, equal-width bins from least to greatest."""
    result = np.empty((z.shape[1], v.shape[1]))
    for i in range(z.shape[1]):
        for j in range(v.shape[1]):
            p = np.histogram2d(z[:, i], v[:, j], bins=bins)[0] / len(z)
            of_v = entropy(p.sum(0))
            result[i, j] = (entropy(p.sum(1)) + of_v - entropy(p.ravel())) / of_v
    return result


def blas():
    """The library and kernel behind NumPy's products."""
    try:
        import threadpoolctl
        for pool in threadpoolctl.threadpool_info():
            if pool["user_api"] == "blas":
                return "%s %s %s" % (pool["internal_api"], pool["version"], pool.get("architecture", ""))
    except ImportError:
        pass
    about = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return "%s %s" % (about.get("name"), about.get("version"))


def load(workload, form, file):
    if workload == "sgemm" or workload.startswith("gemm-"):
        a, b, c = (np.random.rand(*shape).astype(np.float32) for shape in protocol.product_shapes(workload))
        a, b = a.T if workload.endswith("-at") else a, b.T if workload.endswith("-bt") else b
        return protocol.Calls(lambda: np.matmul(a, b, out=c))
    if workload.startswith("random-"):
        rng = np.random.default_rng(6)
        draw = rng.random if workload == "random-uniform" else rng.standard_normal
        return protocol.Calls(lambda: draw(1000000, dtype=np.float32))
    arrays = np.load(file)
    z, v = arrays["z"].astype(np.float64), arrays["v"].astype(np.float64)
    return protocol.Calls(lambda: mim(z, v), lambda: mim(z, v).ravel())


protocol.serve("NumPy %s (%s)" % (np.__version__, blas()), load, out)
