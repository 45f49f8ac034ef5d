"""Fusion of a checkpoint that recognises the task with one that learns it: arXiv 2406.14022, section 4.

``equations`` holds Eqs. 5 and 6, ``members`` who takes part, ``selection`` how members are chosen, ``weights`` how they
are weighed, ``answers`` what is answered, ``gains`` what one set of answers gains over another, ``comparison`` one
fusion beside all that it has to beat (Table 1), ``grids`` fusions of other members (Table 3, all pairs).
"""
