"""Runs in an environment with KunQuant and pandas: Alpha158 of given bars; CPU seconds on stdout.

::

    python kunquant_alpha158.py bars.parquet result.npz repeat

The bars have no gaps. Code is generated and compiled before the clock starts; a C++ compiler is needed.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

FIELDS = ("open", "high", "low", "close", "volume", "amount")
LANES = 8


def library():  # type: ignore[no-untyped-def]
    from KunQuant.Driver import KunCompilerConfig
    from KunQuant.jit import cfake
    from KunQuant.Op import Builder, Input, Output
    from KunQuant.predefined.Alpha158 import AllData
    from KunQuant.Stage import Function

    builder = Builder()
    with builder:
        data = AllData(**{name: Input(name) for name in FIELDS})
        price = {"windows": [0], "feature": [(n, getattr(data, n.lower())) for n in ("OPEN", "HIGH", "LOW", "VWAP")]}
        formulas, names = data.build({"kbar": {}, "price": price, "rolling": {}})
        for formula, name in zip(formulas, names, strict=True):
            Output(formula, name)
    setting = KunCompilerConfig(input_layout="TS", output_layout="TS", dtype="float", blocking_len=LANES)
    return cfake.compileit([("alpha158", Function(builder.ops), setting)], "alpha158", cfake.CppCompilerConfig()), names


def main() -> None:
    from KunQuant.runner import KunRunner

    bars = pd.read_parquet(sys.argv[1])
    bars["amount"] = bars["vwap"] * bars["volume"]
    wide = {name: bars.pivot(index="date", columns="symbol", values=name) for name in FIELDS}
    symbols = wide["close"].shape[1]
    room = -symbols % LANES
    inputs = {
        name: np.ascontiguousarray(np.pad(v.to_numpy(dtype=np.float32), ((0, 0), (0, room)), mode="edge"))
        for name, v in wide.items()
    }
    compiled, names = library()
    module = compiled.getModule("alpha158")
    executor = KunRunner.createSingleThreadExecutor()
    sessions = len(inputs["close"])
    seconds = []
    for _ in range(int(sys.argv[3])):
        result = None
        began = time.process_time()
        result = KunRunner.runGraph(executor, module, inputs, 0, sessions)
        seconds.append(time.process_time() - began)
    # (features, symbols, sessions), in the order of the names that it gives
    np.savez(Path(sys.argv[2]), names=names, values=np.stack([result[n][:, :symbols].T for n in names]))
    print(min(seconds))


if __name__ == "__main__":
    main()
