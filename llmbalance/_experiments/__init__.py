"""Experiments: calls are split between arms, and the figures say which is better.

_experiment   what the user writes down: Experiment, Bandit
_split        which arm a unit is in: by hash, by time, by shares that move
_bandit       shares that follow results: discounted Thompson sampling
_tally        what an arm has seen
_sequential   what may be concluded from it, at any time
_study        one running experiment: all of these together
_memory       what of it is kept over a restart
_studies      the experiments of a router: calls go in, figures come out
_awaited      rewards that come when the call is long over
_scope        which calls an experiment or a mirror is about
_report       the table and the picture
_mirror       what the user writes of copies: which calls, where to, how many
_mirrors      the copies, sent where nobody waits for them
_glass        what a mirror has shown
"""
