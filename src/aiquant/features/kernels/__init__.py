"""Rolling kernels: compiled loops over many symbols laid end to end.

All kernels share one layout. ``x`` is a flat float64 array that holds the symbols' histories one after the other;
``starts`` (int64, number of symbols + 1) says where each begins, the last entry where the last one ends. ``out``
(float64, requests × cells) receives one row per request. NaN means "no value"; ±inf counts as NaN, as in pandas.

**A value depends on its own window alone, to the last bit.** No kernel carries a running sum. Sums come from doubling
tables: the sum of the newest 2h values is the sum of the newest h plus the same sum h slots earlier, and a window of
any length is put together from the powers of two in it. That is the same tree of additions wherever the history starts
or ends, it takes about log₂(window) additions instead of the window's length, all windows share it, its rounding error
is that of pairwise summation, and an outlier leaves no trace once it has left the window. Where the difference of two
sums would lose digits (variances, regressions), the window is computed again from its own values.

Each module is compiled when first imported and cached on disk; the engine imports only those that a graph needs.
Threads run over chunks of symbols outside of the kernels, so their number cannot change a value.
"""
