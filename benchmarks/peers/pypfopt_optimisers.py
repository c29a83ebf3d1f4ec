"""Runs in an environment with PyPortfolioOpt: books of given returns; weights and CPU seconds as JSON on stdout.

::

    python pypfopt_optimisers.py returns.npy repeat
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")


def book(task, returns):  # type: ignore[no-untyped-def]
    from pypfopt import EfficientFrontier, HRPOpt

    if task == "hrp":
        return HRPOpt(returns=returns).optimize(linkage_method="ward")
    frontier = EfficientFrontier(returns.mean(), returns.cov())
    return frontier.min_volatility() if task == "min-variance" else frontier.max_sharpe(risk_free_rate=0.0)


def main() -> None:
    values = np.load(sys.argv[1])
    returns = pd.DataFrame(values, columns=[f"x{k}" for k in range(values.shape[1])])
    found = {}
    for task in ("min-variance", "max-sharpe", "hrp"):
        seconds = []
        for _ in range(int(sys.argv[2]) + 1):
            began = time.process_time()
            weights = book(task, returns)
            seconds.append(time.process_time() - began)
        found[task] = {"seconds": min(seconds[1:]), "weights": [float(weights[name]) for name in returns.columns]}
    print(json.dumps(found))


main()
