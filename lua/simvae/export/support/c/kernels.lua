--- C99 texts of the functions that exported code calls: static ones, of which a file has those that it needs.
--
-- A kernel is { needs = names of others, text }. In texts "@_" stands for the prefix of the file's names, "@@_" for
-- that of its macros. @@_AT(array, i) reads a constant, which on AVR lies in flash memory.
--
-- Loops are written so that gcc (from -O3) and clang (from -O2) vectorise them: constant counts innermost, sums in
-- local arrays, no reductions of floats. exp, tanh and gelu are those of csrc/kernels/vmath.h, with the sources named
-- there.
local kernels = {}

-- Choices by masks of bits: compilers do not vectorise a branch whose arithmetic might trap.
kernels.bits = { text = [[
static inline uint32_t @_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float @_float(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
static inline float @_pick(int c, float a, float b) { /* c ? a : b */
    const uint32_t mask = 0u - (uint32_t)c;
    return @_float((@_bits(a) & mask) | (@_bits(b) & ~mask));
}
static inline float @_power(int32_t k) { /* 2^k, k from -126 to 127 */
    return @_float((uint32_t)(k + 127) << 23);
}
]] }

-- x = k ln 2 + r (Cody and Waite 1980), exp(r) by a minimax polynomial (Cephes). k is in the last bits of a float of
-- size 1.5 * 2^23; 2^k in two halves, for results below the smallest normal number.
kernels.exp = { needs = { "bits" }, text = [[
static inline float @_exp(float x) {
    const float low = @_pick(x < -104.0f, -104.0f, x), c = @_pick(low > 89.0f, 89.0f, low);
    const int32_t k = (int32_t)(@_bits(c * 1.44269504088896341f + 12582912.0f) & 0x7fffffu) - 0x400000, half = k / 2;
    const float f = (float)k, r = (c - f * 0.693359375f) + f * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (r * r * p + r + 1.0f) * @_power(half) * @_power(k - half);
    return @_pick(x == x, p, x);
}
]] }

kernels.sigmoid = { needs = { "exp" }, text = [[
static inline float @_sigmoid(float x) { return 1.0f / (1.0f + @_exp(-x)); }
]] }

kernels.tanh = { needs = { "exp" }, text = [[
static inline float @_tanh(float x) {
    const uint32_t sign = @_bits(x) & 0x80000000u;
    const float z = x * x, size = @_float(@_bits(x) ^ sign), far = 1.0f - 2.0f / (@_exp(2.0f * size) + 1.0f);
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    return @_pick(size < 0.625f, x + x * z * p, @_float(@_bits(far) | sign));
}
]] }

kernels.log = { text = [[
static inline float @_log(float x) { return logf(x); }
]] }

kernels.softplus = { text = [[
static inline float @_softplus(float x) { return (x > 0.0f ? x : 0.0f) + log1pf(expf(x > 0.0f ? -x : x)); }
]] }

kernels.silu = { needs = { "sigmoid" }, text = [[
static inline float @_silu(float x) { return x * @_sigmoid(x); }
]] }

-- Hastings' formula, 26.2.17 in Abramowitz and Stegun, within 3e-7, as csrc/kernels/vmath.h has it.
kernels.gelu = { needs = { "exp" }, text = [[
static inline float @_gelu(float x) {
    const float t = 1.0f / (1.0f + 0.2316419f * @_float(@_bits(x) & 0x7fffffffu));
    float p = 1.330274429f;
    p = p * t - 1.821255978f;
    p = p * t + 1.781477937f;
    p = p * t - 0.356563782f;
    p = p * t + 0.319381530f;
    p = 0.39894228f * @_exp(-0.5f * x * x) * t * p;
    return x * @_pick(x > 0.0f, 1.0f - p, p);
}
]] }

kernels.relu = { text = [[
static inline float @_relu(float x) { return x > 0.0f ? x : 0.0f; }
]] }

--- The functions of one number that kernels.apply takes.
kernels.activations = { "exp", "gelu", "relu", "sigmoid", "silu", "tanh" }

-- n numbers; y may be x. A constant count in the inner loop is vectorised from -O2 on.
local apply = [[
static void @_apply_$OP(const float *x, float *y, size_t n) {
    float t[16];
    size_t i, k;
    for (i = 0; i < n; i += 16) {
        const size_t count = n - i < 16 ? n - i : 16;
        if (count < 16) memset(t, 0, sizeof t);
        memcpy(t, x + i, count * sizeof *t);
        for (k = 0; k < 16; k++) t[k] = @_$OP(t[k]);
        memcpy(y + i, t, count * sizeof *t);
    }
}
]]

for _, op in ipairs(kernels.activations) do
  kernels["apply_" .. op] = { needs = { op }, text = apply:gsub("%$OP", op) }
end

kernels.normal_cdf = { text = [[
static float @_normal_cdf(float x) { return (float)(0.5 * erfc(-(double)x * 0.70710678118654752440)); }
]] }

-- Wichura 1988, algorithm AS 241 (PPND16).
kernels.normal_quantile = { text = [[
static double @_ratio(const double *a, const double *b, double r) {
    double above = a[7], below = b[7];
    int i;
    for (i = 6; i >= 0; i--) above = above * r + a[i], below = below * r + b[i];
    return above / below;
}

static float @_normal_quantile(float u) {
    static const double a[8] = {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3,
                                1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double b[8] = {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
                                2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4,
                                5.2264952788528545610e+3};
    static const double c[8] = {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                                3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
                                1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    static const double e[8] = {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
                                2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double f[8] = {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                                7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
                                2.04426310338993978564e-15};
    const double q = (double)u - 0.5, p = q < 0.0 ? (double)u : 1.0 - (double)u;
    double r, t;
    if (q != q || p < 0.0) return (float)sqrt(-1.0);
    if (fabs(q) <= 0.425) return (float)(q * @_ratio(a, b, 0.180625 - q * q));
    if (p == 0.0) return q < 0.0 ? -HUGE_VALF : HUGE_VALF;
    r = sqrt(-log(p));
    t = r <= 5.0 ? @_ratio(c, d, r - 1.6) : @_ratio(e, f, r - 5.0);
    return (float)(q < 0.0 ? -t : t);
}
]] }

-- ---- products ---------------------------------------------------------------------------------------

local function repeated(text, pattern, mark, count)
  return (text:gsub(pattern, function(each, separator)
    local list = {}
    for i = 0, count - 1 do list[i + 1] = each:gsub(mark, tostring(i)) end
    return table.concat(list, separator)
  end))
end

-- A template: "<<…#…|; >>" becomes the text up to the bar for each of P rows, joined by what follows the bar, and
-- "{{…%…|; }}" for each of V vectors.
local function filled(text, P, V, values)
  text = repeated(repeated(text, "{{(.-)|(.-)}}", "%%", V), "<<(.-)|(.-)>>", "#", P)
  return (text:gsub("%$(%u+)", values))
end

-- Adds n products to the sums of P rows of x, `step` apart, and B outputs.
local run = [[
static void @_run_$P_$B$S(const float *restrict x, size_t step, const $W *restrict w, size_t n, float *restrict sum) {
    const float <<*x# = x + # * step|, >>;
    float <<a#[$B]|, >>;
    size_t i;
    int k;
    for (k = 0; k < $B; k++) <<a#[k] = sum[# * $B + k]|, >>;
    for (i = 0; i < n; i++) {
        const $W *row = w + i * $B;
        const float <<v# = x#[i]|, >>;
        for (k = 0; k < $B; k++) {
            const float r = $CAST@@_AT(row, k);
            <<a#[k] += v# * r;| >>
        }
    }
    for (k = 0; k < $B; k++) <<sum[# * $B + k] = a#[k]|, >>;
}
]]

-- The same by vectors, which GCC and clang have beyond C99: V of them for each row in one pass over the products.
-- "{{…%|; }}" is repeated for each vector.
local run_vectors = [[
static void @_run_$P_$B(const float *restrict x, size_t step, const float *restrict w, size_t n, float *restrict sum) {
    typedef float vector __attribute__((vector_size($L * sizeof(float))));
    const float <<*x# = x + # * step|, >>;
    size_t i, h;
    for (h = 0; h < $B; h += $V * $L) {
        vector <<{{a#%|, }}|, >>;
        <<{{memcpy(&a#%, sum + # * $B + % * $L + h, sizeof a#%);|
        }}|
        >>
        for (i = 0; i < n; i++) {
            const float *row = w + i * $B + h;
            vector {{w%|, }};
            {{memcpy(&w%, row + % * $L, sizeof w%);|
            }}
            <<{{a#% += w% * x#[i];| }}|
            >>
        }
        <<{{memcpy(sum + # * $B + % * $L + h, &a#%, sizeof a#%);|
        }}|
        >>
    }
}
]]

-- Outputs in blocks of B at rows of places: sums of `taps` runs of n products each, `row` apart in x, plus a bias.
-- Places are `place` apart in x and `step` in y, rows x_row and y_row, outputs `plane` in y.
local product = [[
static void @_product_$P_$B$S(const float *x, const $W *w, $SCALESconst float *b, float *tile, float *y, size_t outputs,
                         size_t taps, size_t row, size_t n, size_t rows, size_t x_row, size_t y_row, size_t places,
                         size_t place, size_t step, size_t plane) {
    size_t o, r, q, t, k, p;
    for (o = 0; o < outputs; o += $B, w += taps * n * $B) {
        const size_t used = outputs - o < $B ? outputs - o : $B;
        for (r = 0; r < rows; r++)
            for (q = 0; q < places; q += $P) {
                const size_t first = q + $P <= places ? q : places - $P;
                const float *from = x + r * x_row + first * place;
                memset(tile, 0, $P * $B * sizeof *tile);
                for (t = 0; t < taps; t++) @_run_$P_$B$S(from + t * row, place, w + t * n * $B, n, tile);
                for (k = 0; k < used; k++) {
                    float *to = y + (o + k) * plane + r * y_row + first * step;
                    const float bias = @@_AT(b, o + k);
                    for (p = 0; p < $P; p++) to[p * step] = tile[p * $B + k]$SCALED + bias;
                }
            }
    }
}
]]

--- Rows that are computed at once, of so many.
-- @tparam integer places
-- @tparam integer outputs
function kernels.at_once(places, outputs)
  return places >= 8 and outputs <= 4 and 8 or places >= 4 and 4 or 1
end

--- The blocks in which weights of a number of outputs are packed: { first (from 0), width, outputs }, …, the widest
-- that waste at most an eighth of what is computed; the last is filled with zeros.
-- @tparam integer outputs
-- @tparam integer P rows that are computed at once
function kernels.blocks(outputs, P)
  local widths, list, at = P > 1 and { 16, 8, 4 } or { 32, 16, 8, 4 }, {}, 0
  while at < outputs do
    local width, rest = widths[#widths], outputs - at
    for _, w in ipairs(widths) do
      if rest >= w or (w - rest) * 8 <= outputs then
        width = w
        break
      end
    end
    local last = list[#list]
    if last and last[2] == width then
      last[3] = last[3] + math.min(width, rest)
    else
      list[#list + 1] = { at, width, math.min(width, rest) }
    end
    at = at + width
  end
  return list
end

--- The kernel that computes blocks.
-- @tparam integer P rows at once
-- @tparam integer B outputs at once
-- @tparam boolean int8 weights are bytes, with a scale for each output
-- @treturn string its name
function kernels.product(P, B, int8)
  local name = string.format("product_%d_%d%s", P, B, int8 and "_i8" or "")
  if not kernels[name] then
    local values = { P = P, B = B, S = int8 and "_i8" or "", SCALES = int8 and "const float *scale, " or "",
      W = int8 and "int8_t" or "float", CAST = int8 and "(float)" or "",
      SCALED = int8 and " * @@_AT(scale, o + k)" or "", L = B >= 16 and "@@_LANES" or "4" }
    local V = B < 16 and B // 4 or P == 1 and B // 8 or 2
    values.V = V
    local sums, rest = filled(run, P, V, values), filled(product, P, V, values)
    if not int8 then
      sums = "#ifdef @@_LANES\n" .. filled(run_vectors, P, V, values) .. "#else\n" .. sums .. "#endif\n"
    end
    kernels[name] = { text = sums .. "\n" .. rest }
  end
  return name
end

-- (C, H, W) to (H + top + bottom, W + left + right, C), with zeros around.
kernels.pad = { text = [[
static void @_pad(const float *restrict x, float *restrict y, size_t channels, size_t height, size_t width, size_t top,
                  size_t bottom, size_t left, size_t right) {
    const size_t across = (width + left + right) * channels;
    size_t i, j, c;
    memset(y, 0, top * across * sizeof *y);
    y += top * across;
    for (i = 0; i < height; i++, y += across) {
        memset(y, 0, left * channels * sizeof *y);
        for (c = 0; c < channels; c++)
            for (j = 0; j < width; j++) y[(left + j) * channels + c] = x[(c * height + i) * width + j];
        memset(y + (left + width) * channels, 0, right * channels * sizeof *y);
    }
    memset(y, 0, bottom * across * sizeof *y);
}
]] }

-- ---- along an axis --------------------------------------------------------------------------------------

kernels.softmax = { needs = { "exp" }, text = [[
static void @_softmax(const float *x, float *y, size_t outer, size_t n, size_t inner) {
    size_t i, j, k;
    for (i = 0; i < outer; i++, x += n * inner, y += n * inner)
        for (j = 0; j < inner; j++) {
            float top = x[j];
            double sum = 0.0;
            for (k = 1; k < n; k++) top = x[k * inner + j] > top ? x[k * inner + j] : top;
            for (k = 0; k < n; k++) {
                const float e = @_exp(x[k * inner + j] - top);
                y[k * inner + j] = e;
                sum += (double)e;
            }
            for (k = 0; k < n; k++) y[k * inner + j] *= (float)(1.0 / sum);
        }
}
]] }

kernels.log_softmax = { needs = { "exp" }, text = [[
static void @_log_softmax(const float *x, float *y, size_t outer, size_t n, size_t inner) {
    size_t i, j, k;
    for (i = 0; i < outer; i++, x += n * inner, y += n * inner)
        for (j = 0; j < inner; j++) {
            float top = x[j];
            double sum = 0.0;
            for (k = 1; k < n; k++) top = x[k * inner + j] > top ? x[k * inner + j] : top;
            for (k = 0; k < n; k++) sum += (double)@_exp(x[k * inner + j] - top);
            top += (float)log(sum);
            for (k = 0; k < n; k++) y[k * inner + j] = x[k * inner + j] - top;
        }
}
]] }

-- Heapsort (Williams 1964).
kernels.sort = { text = [[
static int @_before(float a, float b) { return a < b || (a == a && b != b); }

/* Ascending, NaN last. */
static void @_sort(const float *x, float *y, size_t outer, size_t n, size_t inner) {
    size_t i, j, k;
    for (i = 0; i < outer; i++, x += n * inner, y += n * inner)
        for (j = 0; j < inner; j++) {
            float *heap = y + j, v;
            size_t left = n / 2, count = n, child;
            for (k = 0; k < n; k++) heap[k * inner] = x[k * inner + j];
            while (count > 1) {
                if (left > 0) {
                    v = heap[--left * inner];
                } else {
                    v = heap[--count * inner];
                    heap[count * inner] = heap[0];
                }
                for (k = left; (child = 2 * k + 1) < count; k = child) {
                    if (child + 1 < count && @_before(heap[child * inner], heap[(child + 1) * inner])) child++;
                    if (!@_before(v, heap[child * inner])) break;
                    heap[k * inner] = heap[child * inner];
                }
                heap[k * inner] = v;
            }
        }
}
]] }

kernels.layer_norm = { text = [[
static void @_layer_norm(const float *x, const float *scale, const float *shift, float *y, size_t rows, size_t n,
                         double eps) {
    size_t r, i;
    for (r = 0; r < rows; r++, x += n, y += n) {
        double mean = 0.0, square = 0.0;
        for (i = 0; i < n; i++) mean += (double)x[i];
        mean /= (double)n;
        for (i = 0; i < n; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean);
        square = 1.0 / sqrt(square / (double)n + eps);
        for (i = 0; i < n; i++) y[i] = (float)(((double)x[i] - mean) * square) * scale[i] + shift[i];
    }
}
]] }

kernels.matmul = { text = [[
/* count products of (m, k) and (k, n); elements of x are xm and xk apart. */
static void @_matmul(const float *x, const float *y, float *z, size_t count, size_t m, size_t n, size_t k, size_t xs,
                     size_t xm, size_t xk, size_t ys) {
    size_t c, i, j, l;
    for (c = 0; c < count; c++, x += xs, y += ys)
        for (i = 0; i < m; i++, z += n) {
            for (j = 0; j < n; j++) z[j] = 0.0f;
            for (l = 0; l < k; l++) {
                const float v = x[i * xm + l * xk];
                for (j = 0; j < n; j++) z[j] += v * y[l * n + j];
            }
        }
}
]] }

kernels.avg_pool2d = { text = [[
static void @_avg_pool2d(const float *x, float *y, size_t planes, size_t height, size_t width, size_t k) {
    size_t p, i, j, a, b;
    for (p = 0; p < planes; p++, x += height * k * width * k)
        for (i = 0; i < height; i++)
            for (j = 0; j < width; j++) {
                float sum = 0.0f;
                for (a = 0; a < k; a++)
                    for (b = 0; b < k; b++) sum += x[(i * k + a) * width * k + j * k + b];
                *y++ = sum / (float)(k * k);
            }
}
]] }

kernels.upsample2d = { text = [[
static void @_upsample2d(const float *x, float *y, size_t planes, size_t height, size_t width, size_t k) {
    size_t p, i, j;
    for (p = 0; p < planes; p++, x += height * width)
        for (i = 0; i < height * k; i++)
            for (j = 0; j < width * k; j++) *y++ = x[i / k * width + j / k];
}
]] }

-- ---- distributions and flows ------------------------------------------------------------------------------

kernels.cubic_hermite = { text = [[
static float @_cubic_hermite(float x, const float *values, const float *slopes, size_t count, double low, double step) {
    const double last = (double)(count - 1);
    double at = ((double)x - low) / step, s, t, v;
    size_t k;
    if (x != x) return x;
    at = at > 0.0 ? at < last ? at : last : 0.0;
    k = (size_t)at < count - 2 ? (size_t)at : count - 2;
    s = at - (double)k;
    t = 1.0 - s;
    v = (double)values[k];
    return (float)(v + s * s * (3.0 - 2.0 * s) * ((double)values[k + 1] - v) +
                   step * (s * t * t * (double)slopes[k] - s * s * t * (double)slopes[k + 1]));
}
]] }

kernels.piecewise_linear = { text = [[
/* rows of m numbers; knots and values of each row, or (step 0) of all. */
static void @_piecewise_linear(const float *x, const float *knots, const float *values, float *y, size_t rows, size_t m,
                               size_t count, size_t knots_step, size_t values_step) {
    size_t r, i;
    for (r = 0; r < rows; r++, knots += knots_step, values += values_step)
        for (i = 0; i < m; i++) {
            const float v = x[r * m + i];
            size_t low = 0, high = count - 1;
            double rise;
            while (high - low > 1) {
                const size_t middle = (low + high) / 2;
                if (knots[middle] <= v)
                    low = middle;
                else
                    high = middle;
            }
            rise = ((double)values[low + 1] - (double)values[low]) / ((double)knots[low + 1] - (double)knots[low]);
            y[r * m + i] = (float)((double)values[low] + rise * ((double)v - (double)knots[low]));
            y[(rows + r) * m + i] = (float)log(rise);
        }
}
]] }

-- A coupling transform's spline (Durkan et al. 2019), as csrc/kernels/spline.c; each row of parameters serves `each`
-- rows of the state.
kernels.spline_coupling = { needs = { "exp", "softplus" }, text = [[
static float @_unit(float t) { return t < 0.0f ? 0.0f : t > 1.0f ? 1.0f : t; }

static void @_knots(const float *raw, float *knot, float *size, int bins) {
    float top = raw[0], sum = 0.0f;
    int k;
    for (k = 1; k < bins; k++) top = raw[k] > top ? raw[k] : top;
    for (k = 0; k < bins; k++) sum += size[k] = @_exp(raw[k] - top);
    sum = (1.0f - 1e-3f * (float)bins) / sum;
    knot[0] = 0.0f;
    for (k = 0; k < bins; k++) {
        size[k] = 1e-3f + size[k] * sum;
        knot[k + 1] = knot[k] + size[k];
    }
}

static void @_spline_coupling(const float *state, const float *p, const unsigned char *columns, float *y, size_t groups,
                              size_t each, size_t width, int bins, int inverse) {
    float knot[2][@@_BINS + 1], size[2][@@_BINS];
    size_t g, r, d;
    memcpy(y, state, groups * each * (width + 1) * sizeof *y);
    for (g = 0; g < groups; g++, y += each * (width + 1))
        for (d = 0; d < width; d++) {
            const int circle = columns[d] == 2;
            const float *slope = p + 2 * bins, *rotation = p + 3 * bins;
            if (!columns[d]) continue;
            @_knots(p, knot[0], size[0], bins);
            @_knots(p + bins, knot[1], size[1], bins);
            for (r = 0; r < each; r++) {
                float *row = y + r * (width + 1), in = @_unit(row[d]), t, u, rise, bottom, middle, part, below, above;
                int k = 0, i;
                if (circle && !inverse) in = row[d] + *rotation, in -= floorf(in);
                for (i = 1; i < bins; i++) k += in >= knot[inverse][i];
                below = 1e-3f + @_softplus(slope[k] + 0.5397424172369522f);
                above = 1e-3f + @_softplus(slope[circle && k + 1 == bins ? 0 : k + 1] + 0.5397424172369522f);
                rise = size[1][k] / size[0][k];
                if (inverse) {
                    const float h = size[1][k], up = in - knot[1][k], c = below + above - 2.0f * rise;
                    const float a = h * (rise - below) + up * c, b = h * below - up * c;
                    const float root = b * b + 4.0f * a * rise * up;
                    t = @_unit(2.0f * rise * up / (b + sqrtf(root > 0.0f ? root : 0.0f)));
                } else
                    t = @_unit((in - knot[0][k]) / size[0][k]);
                u = t * (1.0f - t);
                bottom = rise + (below + above - 2.0f * rise) * u;
                middle = above * t * t + 2.0f * rise * u + below * (1.0f - t) * (1.0f - t);
                part = rise / bottom;
                if (inverse) {
                    row[d] = @_unit(knot[0][k] + size[0][k] * t);
                    if (circle) row[d] -= *rotation, row[d] -= floorf(row[d]);
                } else
                    row[d] = @_unit(knot[1][k] + size[1][k] * ((rise * t * t + below * u) / bottom));
                row[width] += inverse ? -logf(part * part * middle) : logf(part * part * middle);
            }
            p += 3 * bins + 1;
        }
}
]] }

-- csrc/ops/location_scale.c, in double precision.
kernels.location_scale = { text = [[
static double @_soft(double x) { return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double @_logistic(double x) { return x > 0.0 ? 1.0 / (1.0 + exp(-x)) : exp(x) / (1.0 + exp(x)); }
static double @_within(double x) { return x > 0.0 ? x < 1.0 ? x : 1.0 : 0.0; }

static void @_location_scale(const float *state, const float *p, const unsigned char *columns, float *y, size_t groups,
                             size_t each, size_t width, int inverse) {
    size_t g, r, d;
    memcpy(y, state, groups * each * (width + 1) * sizeof *y);
    for (g = 0; g < groups; g++, y += each * (width + 1))
        for (d = 0; d < width; d++) {
            double m, s, a, b, fall, log_gap;
            if (columns[d] != 1) continue;
            m = 0.5 + 0.6 * tanh((double)p[0]);
            s = 2e-4 + @_soft((double)p[1] + 0.54132485461291806);
            a = -m / s;
            b = (1.0 - m) / s;
            fall = expm1(-1.0 / s);
            log_gap = log(-fall) - @_soft(-b) - @_soft(a);
            p += 2;
            for (r = 0; r < each; r++) {
                float *row = y + r * (width + 1);
                double u = @_within((double)row[d]), t, slope;
                if (inverse) {
                    const double gap = exp(log_gap);
                    u = @_within(m + s * (log(@_logistic(a) + u * gap) - log(@_logistic(-b) + (1.0 - u) * gap)));
                }
                t = (u - m) / s;
                slope = -@_soft(t) - @_soft(-t) - log(s) - log_gap;
                row[d] = (float)(inverse ? u : @_within(exp(@_soft(-b) - @_soft(-t)) * (expm1(-u / s) / fall)));
                row[width] += (float)(inverse ? -slope : slope);
            }
        }
}
]] }

kernels.conditioner_layer = { needs = { "silu" }, text = [[
static void @_conditioner_layer(const float *context, const float *state, const float *weight,
                                const unsigned char *columns, float *y, size_t groups, size_t each, size_t width,
                                size_t hidden) {
    size_t g, r, d, i;
    for (g = 0; g < groups; g++, context += hidden)
        for (r = 0; r < each; r++, state += width + 1, y += hidden) {
            const float *w = weight;
            memcpy(y, context, hidden * sizeof *y);
            for (d = 0; d < width; d++) {
                const float turn = 6.28318530717958647692f * state[d];
                float f = columns[d] == 2 ? cosf(turn) : 2.0f * state[d] - 1.0f;
                unsigned char k;
                for (k = 0; k < columns[d]; k++, w += hidden, f = sinf(turn))
                    for (i = 0; i < hidden; i++) y[i] += f * w[i];
            }
            for (i = 0; i < hidden; i++) y[i] = @_silu(y[i]);
        }
}
]] }

return kernels
