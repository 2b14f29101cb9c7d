"""scikit-learn: the classifier two-sample test by boosted trees, which sees narrow modes that a small smooth network
on standardised axes does not: the mean accuracy over two folds of five.

The protocol is that of ../peers/protocol.py: `load REFERENCE SAMPLES FILE` reads these two names of an .npz, and
`check` returns the accuracy.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import protocol  # noqa: E402

out = protocol.open_lines()
protocol.threads()
with protocol.needed(out):
    import numpy as np
    import sklearn
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import KFold


def accuracy(a, b):
    both, label = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    scores = []
    for train, test in list(KFold(5, shuffle=True, random_state=1).split(both))[:2]:
        trees = HistGradientBoostingClassifier(random_state=1).fit(both[train], label[train])
        scores.append(trees.score(both[test], label[test]))
    return [np.mean(scores)]


def load(reference, samples, file):
    arrays = np.load(file)
    return protocol.Calls(lambda: None, lambda: accuracy(arrays[reference], arrays[samples]))


protocol.serve("scikit-learn %s" % sklearn.__version__, load, out)
