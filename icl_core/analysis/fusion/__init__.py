"""Fusion of a checkpoint that recognises the task with one that learns it: arXiv 2406.14022, section 4.

``equations`` holds Eqs. 5 and 6, ``members`` the checkpoints that take part, ``selection`` how they are chosen,
``weights`` their weights, ``answers`` the predicted labels, ``gains`` the difference between two sets of answers,
``comparison`` one fusion and all its baselines (Table 1), ``grids`` fusions of other members (Table 3, all pairs).
"""
