"""Vendors and files → rows in our schemas; what cannot be used → dead letters.

A source is a plug-in (:mod:`aiquant.sources.base`): ``files`` and ``sample`` are built in, further ones are found
through the entry-point group ``aiquant.sources``.
"""
