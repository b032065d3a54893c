"""Every limit that a verdict rests on, with what it means and where its number comes from.

"Clean pairs" are pairs of runs in which only arithmetic differs: those of `benchmarks/faults.py`
(seven families, random weights, 4 to 32 layers) and SmolLM2-135M (trained, 30 layers), each in
float32, bfloat16, float16 and mixed, with another attention kernel or another order of summation.
"faults" are those that the benchmark plants. A *unit* is half the spacing of numbers at 1.0 in a
dtype: the greatest relative error of one rounding. No number here is tuned to a single capture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# What a dtype allows, independent of a record's inputs


@dataclass(frozen=True, slots=True)
class Limits:
    """`relative_l2` up to `ok` is ok, above `diverged` diverged; so is a peak above `peak`."""

    ok: float
    diverged: float
    peak: float
    epsilon: float


# Real pairs that agree lie at 1e-7 (float32) and 1.2e-2 (bfloat16) after two layers, and grow with
# depth: `ok` is some three times what 32 layers reach.
FLOAT8 = Limits(0.15, 0.35, 2.0, 2**-3)
# The same for wider types, by dtype.
LIMITS: dict[str, Limits] = {
    "float64": Limits(1e-9, 1e-6, 1e-5, 2**-52),
    "complex128": Limits(1e-9, 1e-6, 1e-5, 2**-52),
    "float32": Limits(1e-4, 1e-3, 3e-2, 2**-23),
    "complex64": Limits(1e-4, 1e-3, 3e-2, 2**-23),
    "float16": Limits(1e-2, 5e-2, 0.5, 2**-10),
    "bfloat16": Limits(4e-2, 0.12, 1.0, 2**-7),
}
PEAK_ROUNDINGS = 32.0  # roundings of the value itself that a peak is forgiven
PART_OF_OK = 2.0  # times `ok`: a single row or channel is the worst of many
FACTOR_OF_OK = 0.15  # times `ok`: a factor that all elements share; clean pairs stay below 0.08
FACTOR_UNITS = 32.0  # units: the same, where that is less (float32, whose `ok` is 1700 units)
OFFSET_OF_OK = 0.75  # times `ok`: an offset that all share; the logits of clean pairs reach 0.4


def limits_for(dtype: str, limits: Mapping[str, Limits] = LIMITS) -> Limits | None:
    """The limits of a dtype; None for whole numbers and bools, which are exact."""
    small = dtype.startswith(("float8_", "float6_", "float4_"))
    return FLOAT8 if small else limits.get(dtype)


# What a step may make of the error that it is given

ROUNDINGS = 4.0  # units: a step's own rounding; clean matrix products reach 2
UNRELATED = 0.5  # error of inputs beyond which nothing can be expected of the output
ALONE = 8.0  # amplification that rounding may reach where there is nothing to compare with
WIDEST, NARROWEST = 4.0, 2.5  # times the median of its kind: few of a kind, many alike
LEAST = 3.0  # amplification that is noise in any case; clean pairs reach 2
LEAST_OF_SOME = 2.0  # the same where `SOME` of a kind or more show what is typical
SOME = 8  # of a kind from which on the least amplification that is noise is lower
NEVER = 32.0  # amplification that is never noise; clean runs stay below 2
NOTHING = 0.05  # stands for the amplification of what is identical, which has no logarithm
FEW = 6  # of a kind from which on their spread is trusted
MANY = 16  # of a kind from which on it makes no difference whether one is among them
PASSED_ON = 1.001  # times the error of its source up to which a record just passes it on
SPREADS = 8.0  # robust standard deviations of a kind, where these make less than WIDEST
DRIFT_LEAST = 1.5  # amplification below which nothing is drift; clean pairs scatter up to it
DRIFT = 1.6  # times the typical amplification: more is reported as drift
INHERITED = 4.0  # times what a clean run would have: an error that came from a fault before

# Where the errors of a kind step up for good

BEFORE, AFTER = 4, 3  # of a kind on either side of the step
STEP = 1.2  # times the greatest amplification before it that the least after it is
ADDS = 0.95  # amplification below which nothing is added that the inputs do not have

# What noise cannot look like

STANDARD_ERRORS = 8.0  # of a mean or factor: the chance of more, in normal noise, is 1e-15
ONE_INPUT, PRODUCTS = 0.7, 0.9  # of the likeliest greatest factor that noise has by chance
OTHER_DTYPE = 3.0  # units: rounded weights are the same for all tokens and make a factor too
SAME_DTYPE = 0.5  # units: the bias of rounded partial sums, 5e-5 in bfloat16 and float16
TIMES_TYPICAL = 6.0  # times the factor or offset that its kind has
PART_TIMES_TYPICAL = 4.0  # times the same for factors by row or channel, and for single ones
PEAK_RATIO = 12.0  # times the middle row or channel; rows of clean pairs reach 10
SEEN_RATIO = 6.0  # the same of rows, where the sources' rows are known as well ...
SEEN_TIMES_TYPICAL = 3.0  # ... and are so many times what is typical; clean pairs reach 2.4 ...
SEEN_WORST = 3.0  # ... and this is so many times the worst of these; clean pairs reach 2
PEAK_UNITS = 8.0  # units: a row or channel that is off by less is rounding
PEAK_INHERITED = 3.0  # times the error of the inputs
PEAK_EXCESS = 3.0  # times the middle channel's error as it is; one whose terms cancel reaches 2.1
FEWEST_FITTED = 64  # elements below which no common factor or offset is looked for
ROW_UNITS = 1.5  # units: factors by row that rounding makes; rows have many elements each
CHANNEL_UNITS = 4.0  # units: the same by channel, of which there are fewer
PART_INHERITED = 3.0  # times the factors by row or channel that a source has
PART_OF_ERROR = 0.6  # of the error that factors by row or channel must make up
CLAMPED = 4.0  # elements at one greatest value; by chance there are two
COARSER = 3.0  # times fewer magnitudes than the reference has: a bit and a half of mantissa
FEWEST_MAGNITUDES = 128  # that the reference has; of fewer a coarser grid is not seen
FEW_MAGNITUDES = 160  # that 8-bit types have, and some
FEW_WEIGHTS = 16  # experts that a token goes to, at most

# Which values rule a record

MASSIVE = 6.0  # times its channel's typical size: a larger value counts as this one
MASSIVE_ROW = 3.0  # times the rows' typical size: a larger row counts as this one
# Times its typical size: a channel with a larger value has large weights, which the other tokens'
# values need not show (they cancel), but their errors do.
MASSIVE_CHANNEL = 12.0
SMALL_CHANNEL = 0.5  # of the channels' typical size: a smaller channel counts as this one

# Records that repeat an earlier one

COPIED = 1.5  # times the earlier one's error, from which the candidate has something else

# Sums of records that are dumped in part (see `evidence.totals`)

TOTAL_SPREADS = 4.0  # times what errors of random signs add up to
UNSEEN_SPREADS = 16.0  # the same, where no side has all elements: the rest may be larger
TOTAL_ROUNDING = 8.0  # times the rounding of a sum in float32, one term after the other

# Masks

BLOCKED = -1e4  # an additive mask's "not this one": -inf, finfo.min, -1e9, -1e4

# The precision that values have (see `grids`)

MOST_COARSE = 0.8  # of a side's records that must lie on a coarser dtype's grid
ONE_SIDE_COARSE = 5  # records that must, where the other side's values are finer

# Arithmetic, and weights, that are coarser than the numbers they are kept in
# (see `judging.reduced_precision`)


@dataclass(frozen=True, slots=True)
class CoarseKind:
    """An arithmetic by the error that a projection with equal inputs has, `least` to `greatest`.

    `unit` is that of what it rounds to (0 for weights, which are rounded once), `like` the dtype
    whose limits a run in it is judged by, `fewest` projections must show it, whose error is well
    above the rounding of the record's own dtype: four units.
    """

    name: str
    least: float
    greatest: float
    unit: float
    like: str
    fewest: int
    weights: bool = False

    @property
    def ok(self) -> float:
        """The error that a run in it may have."""
        limits = limits_for(self.like)
        assert limits is not None
        return limits.ok


# 0.35 to 0.9 units of TF32 (10 bits) and bfloat16, then what 8 and 4 bits make of weights.
COARSE_KINDS = (
    CoarseKind("TF32 or float16", 0.35 * 2**-11, 0.9 * 2**-11, 2**-11, "float16", 3),
    CoarseKind("bfloat16", 0.35 * 2**-8, 0.9 * 2**-8, 2**-8, "bfloat16", 3),
    CoarseKind("8-bit weights", 0.9 * 2**-8, 0.04, 0.0, "bfloat16", 4, True),
    CoarseKind("4-bit weights", 0.04, 0.25, 0.0, "float8_e4m3fn", 4, True),
)
ALIKE = 2.0  # times that the greatest of those with equal inputs is the least
MOST_ALIKE = 0.6  # of these that must be so; others that have more are faults
AGREE = 0.1  # of the error: inputs that count as equal
NEAR = 1.5  # times the error: inputs behind which it is still seen
OWN = 0.7  # times the error that a projection behind such inputs adds
OWN_SHARE = 0.33  # of these projections that must add it

# Experts, and further captures (see `judging.expert_routing`, `judging.noise_floor`)

MARGIN = 2.0  # times the greatest difference of a token's logits: each of two may be off by it
TOO_FAR = 0.35  # relative L2 of a baseline: even float8 stays below it

# Runs with dropout (see `dropout`)

STATISTICS_APART = 0.25  # of the RMS: clean runs with other seeds reach a tenth in deep layers
DROPOUT_ELEMENTS = 64  # that were not zero: of fewer, zeros and one factor may be chance
DROPOUT_ROUNDING = 4.0  # units: what the factors of single elements may be apart; rounding makes 2
DROPOUT_RECENT = 4  # outputs before an input that it may be made of by a function of dropout

# Which records are logits (see `logits_effect`)

LEAST_VOCABULARY = 256  # of logits without a head: bytes are the smallest vocabulary in use

# The whole of a comparison (see `outcome`)

LAST_SHARE = 0.1  # of the reference's layers, or outputs, that are missing at its end: ends early

FEWEST_EQUAL = 2  # pairs of what a model computed that must be equal to call one side a copy

# Pairs that do not seem to belong together (see `doubts`)

UNLIKE = 0.25  # relative L2: no rounding and no quantisation differs by more
UNRELATED_COSINE = 0.5  # of records of equal names: half of one shows nothing of the other
AGREES = 2.0  # times a record's rounding: what is made of an unrelated record of equal name

# What a difference looks like (see `symptoms`)

AGREEING_PART = 8.0  # times the error of what agrees: the least of what is wrong along an axis
LEAST_HEAD = 8  # channels: no model has narrower heads
MIXED_UP = 0.05  # of the squares by which two records differ in the reference: nearer is the other
OWN_BY_ROW = 0.5  # of the error that factors or offsets by row must leave, at most
FEW_ROWS = 0.25  # of the rows: an error of so few is described by its place
OWN_BY_CHANNEL = 0.6  # of what rows have to themselves: the most an offset by channel may leave
LEAST_SCORE = 0.5  # of the error: a fit that explains less than half is no symptom
SCORES_ALIKE = 0.05  # of the error: scores this near are ordered by which symptom is the simpler
LEAST_TERM = 0.05  # times a term: less of one that is like the record itself is a scale
REGION_OF_ERROR = 0.9  # of the error that a region must hold
REGION_OF_REFERENCE = 0.7  # of the reference's squares: where so much is, most of any error is
REGION_PART = 0.26  # of the rows or channels: a quarter, one head of four; more is no region
REGION_RUNS = 3  # of neighbours in a region, unless it is ...
REGION_SCATTERED = 0.06  # ... of so few of the rows or channels: noise scatters over all

CORRELATION_ERRORS = 2.0  # standard errors beyond the likeliest greatest correlation by chance
LEAST_CORRELATION = 0.1  # that is something, of many values: tables share some of their directions
MOST_CORRELATION = 0.7  # that may be chance, of few values

# What numbers usually mean (see `symptoms.thumb`): the rules of thumb of those who port models

THUMB_ALIKE = 0.99  # cosine from which the direction is right
THUMB_UNLIKE = 0.9  # cosine below which it is not
THUMB_LARGE_MSE = 1e-4  # above which the size is off
THUMB_SMALL_MSE = 1e-6  # below which only noise is left
THUMB_LARGE_RELATIVE = 0.1  # of the greatest relative difference
THUMB_SMALL_ABSOLUTE = 1e-4  # of the greatest absolute difference: below, values are near zero
