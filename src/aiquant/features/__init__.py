"""Features: one definition for research, streams and serving, and the labels that models are asked to forecast.

A feature is an expression over bars (:mod:`.expressions`, or Qlib's text form: :mod:`.parsing`). Each operator states
how far it looks back (:mod:`.operators`) and none can look ahead. A set of features (:mod:`.catalogue`) is one graph in
which common parts are shared; :mod:`.engine` computes it. :mod:`.labels` is the one place that looks ahead.
"""
