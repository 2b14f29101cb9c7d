"""Writes the 8x8 digits of scikit-learn (1,797 from the test set of the UCI ML hand-written digits) as a table that
train_digits.lua and train_multiply.lua read: the digit, then 64 pixels from 0 to 16.

    python3 examples/export_digits.py digits.csv
"""
import sys

from sklearn.datasets import load_digits

if len(sys.argv) != 2:
    sys.exit("usage: export_digits.py FILE.csv")
data = load_digits()
with open(sys.argv[1], "w") as f:
    f.write("digit," + ",".join(f"p{i}" for i in range(1, 65)) + "\n")
    for digit, pixels in zip(data.target, data.data):
        f.write(f"{digit}," + ",".join(str(int(v)) for v in pixels) + "\n")
