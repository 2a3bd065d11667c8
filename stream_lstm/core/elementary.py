"""Elementary functions of IEEE 754 operations in a fixed order: the same bits on every machine.

The last bits of a C library's functions differ between systems, versions and CPUs. These use the polynomials
and coefficients of fdlibm (Sun Microsystems, 1993, https://www.netlib.org/fdlibm/: e_exp.c, e_log.c, k_sin.c,
k_cos.c), and for the hyperbolic tangent in float32 a rational function, odd over even, on ±7.9, where it is 1
in float32. The accuracy of each is stated in ulp (units in the last place) and tested.
"""

from __future__ import annotations

import numpy as np

from stream_lstm.compiler import compiled

# Natural logarithm of 2 in two parts: the high one times an integer up to 2000 is exact.
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
INVERSE_LN2 = 1.44269504088896338700e00
INVERSE_LN10 = 4.34294481903251816668e-01
TAU = 6.28318530717958647693
EXP_ARGUMENT_MAX, EXP_ARGUMENT_MIN = 709.782712893383973096, -745.133219101941108420  # beyond: infinity, 0

# Layout of a float64.
EXPONENT_BIAS, MANTISSA_BITS = 1023, 52
MANTISSA = (1 << MANTISSA_BITS) - 1
SQRT2_CARRY = 0x0009_5F64_0000_0000  # added to a mantissa of √2 or more, it carries into the exponent

# float32 code has float32 constants only: a float64 one would widen all that it touches.
HALF = np.float32(0.5)
TANH_ARGUMENT_MAX = np.float32(7.90531110763549805)
TANH_ABOVE = (
    np.float32(4.89352455891786e-03),
    np.float32(6.37261928875436e-04),
    np.float32(1.48572235717979e-05),
    np.float32(5.12229709037114e-08),
    np.float32(-8.60467152213735e-11),
    np.float32(2.00018790482477e-13),
    np.float32(-2.76076847742355e-16),
)
TANH_BELOW = (
    np.float32(4.89352518554385e-03),
    np.float32(2.26843463243900e-03),
    np.float32(1.18534705686654e-04),
    np.float32(1.19825839466702e-06),
)


@compiled
def exp(x: float) -> float:
    """e to the power of x; within 1 ulp where the result is normal."""
    if x > EXP_ARGUMENT_MAX:
        return np.inf
    if x < EXP_ARGUMENT_MIN:
        return 0.0
    n = int(np.rint(x * INVERSE_LN2))
    high, low = x - n * LN2_HIGH, n * LN2_LOW
    r = high - low  # e^x = 2^n e^r, |r| ≤ ln(2) / 2
    t = r * r
    p = -1.65339022054652515390e-06 + t * 4.13813679705723846039e-08
    p = -2.77777777770155933842e-03 + t * (6.61375632143793436117e-05 + t * p)
    c = r - t * (1.66666666666666019037e-01 + t * p)
    power = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    half = n >> 1  # in two steps: 2^n alone may lie beyond the numbers
    return power * _power_of_two(half) * _power_of_two(n - half)


@compiled
def _power_of_two(n: int) -> float:
    """2 to the power of n, n from -1022 to 1023."""
    return np.int64((n + EXPONENT_BIAS) << MANTISSA_BITS).view(np.float64)


@compiled
def log(x: float) -> float:
    """Natural logarithm of a normal x > 0; within 1 ulp."""
    n, f = _split(x)
    half, s, rest = _log_terms(f)
    return n * LN2_HIGH - ((half - (s * (half + rest) + n * LN2_LOW)) - f)


@compiled
def log1p(x: float) -> float:
    """log(1 + x) for x ≥ 0; within 2 ulp."""
    y = 1.0 + x
    if y == 1.0:
        return x
    return log(y) + (x - (y - 1.0)) / y  # the second term is what the sum has lost


@compiled
def log2(x: float) -> float:
    """Logarithm to base 2 of a normal x > 0; within 2 ulp, exact for powers of two."""
    n, f = _split(x)
    half, s, rest = _log_terms(f)
    return n + (f - (half - s * (half + rest))) * INVERSE_LN2


@compiled
def log10(x: float) -> float:
    """Logarithm to base 10 of a normal x > 0; within 2 ulp."""
    return log(x) * INVERSE_LN10


@compiled
def _split(x: float) -> tuple[int, float]:
    """n and f of x = 2^n (1 + f), 1 + f from √½ to √2."""
    bits = np.float64(x).view(np.int64)
    mantissa = bits & MANTISSA
    carry = (mantissa + SQRT2_CARRY) >> MANTISSA_BITS
    n = (bits >> MANTISSA_BITS) - EXPONENT_BIAS + carry
    scaled = np.int64(mantissa | ((EXPONENT_BIAS - carry) << MANTISSA_BITS)).view(np.float64)
    return int(n), scaled - 1.0


@compiled
def _log_terms(f: float) -> tuple[float, float, float]:
    """Terms of log(1 + f) = f - (half - s (half + rest))."""
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    odd = 1.818357216161805012e-01 + w * 1.479819860510994974e-01
    odd = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01 + w * odd))
    return 0.5 * f * f, s, even + odd


@compiled
def sine_and_cosine(turns: float) -> tuple[float, float]:
    """Sine and cosine of an angle, in turns from 0 to 1; within 2 ulp of 1."""
    quarter = int(np.rint(turns * 4.0))
    x = (turns - quarter * 0.25) * TAU  # |x| ≤ π/4
    z = x * x
    p = -2.50507602534068634195e-08 + z * 1.58969099521155010221e-10
    p = -1.98412698298579493134e-04 + z * (2.75573137070700676789e-06 + z * p)
    sine = x + x * z * (-1.66666666666666324348e-01 + z * (8.33333333332248946124e-03 + z * p))
    q = 2.08757232129817482790e-09 + z * -1.13596475577881948265e-11
    q = 2.48015872894767294178e-05 + z * (-2.75573143513906633035e-07 + z * q)
    q = z * z * (4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * q))
    cosine = 1.0 - (0.5 * z - q)
    quarter &= 3
    if quarter == 0:
        return sine, cosine
    if quarter == 1:
        return cosine, -sine
    if quarter == 2:
        return -sine, -cosine
    return -cosine, sine


@compiled
def tanh(x: np.float32) -> np.float32:
    """Hyperbolic tangent in float32; within 4e-7, and never beyond ±1."""
    x = min(max(x, -TANH_ARGUMENT_MAX), TANH_ARGUMENT_MAX)
    z = x * x
    a, b = TANH_ABOVE, TANH_BELOW
    above = ((((((a[6] * z + a[5]) * z + a[4]) * z + a[3]) * z + a[2]) * z + a[1]) * z + a[0]) * x
    below = ((b[3] * z + b[2]) * z + b[1]) * z + b[0]
    return above / below


@compiled
def sigmoid(x: np.float32) -> np.float32:
    """Logistic function in float32, by way of tanh, which cannot overflow."""
    return tanh(x * HALF) * HALF + HALF
