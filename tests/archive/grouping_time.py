"""Measures how long dividing faces into people takes, and how much memory, with made-up embeddings:

    PYTHONPATH=. .venv/bin/python tests/archive/grouping_time.py --faces 100000 --people 10000

Half of the people have a single face, as in archives of crowds; the others share the rest. The time is that of the
processor, so other programs do not count.
"""

import argparse
import resource
import sys
import time

import numpy as np

from app.identity.grouping import grouped, shares_of_pairs

DIMENSION = 128
SPREAD = 0.7
"""Two faces of one person have a cosine of 0.67 on average."""


def made_up(faces, people):
    """Unit vectors in a random order, and whose they are."""
    random = np.random.default_rng(0)
    regulars = max(1, people // 2)
    who = np.concatenate([np.arange(people), random.integers(0, regulars, faces - people)])
    random.shuffle(who)
    centres = random.normal(size=(people, DIMENSION)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = centres[who]
    for start in range(0, faces, 10_000):
        block = vectors[start : start + 10_000]
        block += random.normal(size=block.shape).astype(np.float32) * (SPREAD / np.sqrt(DIMENSION))
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return vectors, who


def peak_mb():
    """Of this process, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=10_000)
    options = parser.parse_args()
    vectors, who = made_up(options.faces, options.people)
    began = time.process_time()
    groups = grouped(vectors, 0.44)
    seconds = time.process_time() - began
    precision, recall = shares_of_pairs(groups, who)
    sys.stdout.write(
        f"{options.faces} faces of {options.people} people: {seconds:.1f} s of processor time; at most "
        f"{peak_mb():.0f} MB, of which {vectors.nbytes / 1e6:.0f} are embeddings; {groups.max() + 1} groups, precision "
        f"{precision:.4f}, recall {recall:.4f}\n"
    )


if __name__ == "__main__":
    main()
