"""When a local error sticks out. Ratios are in units of predicted rounding (see `local_error`).

Set on clean pairs of a trained model of 30 layers (`benchmarks/trained.py`), in which every kind of
layer keeps within a factor of two of its median.
"""

from __future__ import annotations

TRUST = 16.0  # ratio of the reference up to which a law is its law; float32 sums reach 8
LEAST_FACTOR = 2.1  # times the median of its peers; clean bfloat16 layers reach 1.5
MOST_FACTOR = 3.5  # clean float32 layers reach 1.8 and scatter more
SPREADS = 6.0  # robust standard deviations (of logarithms) beyond the median
OWN_FACTOR = 1.5  # times the reference's own ratio at the same place
# The median of peers counts up to this: a fault of all layers is not usual. Clean float32 sums
# reach 9 (logits), bfloat16 sums that are rounded in between 1.5.
USUAL_CAP_FINE, USUAL_CAP_COARSE = 10.0, 4.0
USUAL_CAP_FEW = 1.5  # of laws with few roundings, as sums of two terms: clean ones reach 1.1
USUAL_LEAST = 0.15  # below this, ratios are of values that hardly needed rounding
NO_PEERS = 2.5  # times the cap where nothing can be compared with
ROW_FACTOR = 4.0  # times the usual greatest row, channel or group
ROW_LEAST = 5.0  # and times the layer's own usual ratio
FEW_ROWS = 4  # rows of a sample (a decode step has one) whose median scatters as single rows do
GAIN_ERRORS = 10.0  # standard errors of a common factor
GAIN_PEERS = 6.0  # times the usual |gain - 1|
GAIN_LEAST = 2.0**-22  # a factor that is stored in float32 is off by a quarter of this
GAIN_USUAL = 0.08  # units roundoff of the median |gain - 1| of peers that count as usual
GAIN_UNITS = 0.08  # units roundoff: rounding of weights makes such a common factor
GAIN_SHARED = 1.5  # times the factor that rounding of what elements have in common makes
PEERS_TOLD = 2  # other layers of a law from which on what is usual is known
CONTROL_LEAST = 0.5  # of the reference's ratio at a place without peers
CONVINCING = 0.4  # of the error at most that is left where a mistake explains what no peers tell
FEW_PEERS = 4  # of the same kind; with fewer, all layers of the same law are peers
MOST_ODD = 1 / 3  # of the layers of a kind: more on a coarser grid are no exception
RESTORED = 1.35  # times the limits: a hypothesis need not restore better than that
ALIKE = 0.5  # units of rounding in total below which hypotheses fit alike
AS_PREDICTED = 1.5  # units of rounding in the worst row, up to which a hypothesis surely fits


def usual_cap(unit: float, few_roundings: bool = False) -> float:
    """Up to which the median of peers counts, for records of this unit roundoff."""
    if few_roundings:
        return USUAL_CAP_FEW
    return USUAL_CAP_FINE if unit <= 2.0**-20 else USUAL_CAP_COARSE
