/* kernel: requantized */
/* x * multiplier * 2^(shift - 31), rounded; as gemmlowp and TensorFlow Lite define it. */
static int32_t requantized(int32_t x, int32_t multiplier, int shift) {
  const int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
  const int64_t product = (int64_t)(x * (1 << left)) * multiplier;
  const int64_t half = product >= 0 ? (1 << 30) : 1 - (1 << 30);
  const int32_t high = (int32_t)((product + half) / ((int64_t)1 << 31));
  const int32_t mask = (int32_t)(((int64_t)1 << right) - 1), rest = high & mask;
  return (high >> right) + (rest > (mask >> 1) + (high < 0));
}

static int8_t limited(int32_t x, int low, int high) {
  return (int8_t)(x < low ? low : x > high ? high : x);
}

/* kernel: average_pool */
static void average_pool(const window_t *p, const int8_t *in, int8_t *out, int8_t low,
                         int8_t high) {
  for (int y = 0; y < p->out_h; y++)
    for (int x = 0; x < p->out_w; x++)
      for (int c = 0; c < p->in_c; c++) {
        const range_t rows = inside(y * p->stride_h - p->pad_top, p->kernel_h, 1, p->in_h);
        const range_t columns = inside(x * p->stride_w - p->pad_left, p->kernel_w, 1, p->in_w);
        const int count = (rows.end - rows.first) * (columns.end - columns.first);
        int32_t sum = 0;
        for (int i = rows.first; i < rows.end; i++)
          for (int j = columns.first; j < columns.end; j++)
            sum += in[((rows.start + i) * p->in_w + columns.start + j) * p->in_c + c];
        sum = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
        *out++ = limited(sum, low, high);
      }
}

/* kernel: mean */
/* Of each channel over all places; the multiplier divides by their number. */
static void mean(const int8_t *in, int8_t *out, int places, int c, int in_zero, int out_zero,
                 int32_t multiplier, int shift) {
  for (int o = 0; o < c; o++) {
    int32_t sum = 0;
    for (int i = 0; i < places; i++) sum += in[i * c + o];
    sum = requantized(sum - in_zero * places, multiplier, shift) + out_zero;
    out[o] = limited(sum, -128, 127);
  }
}

/* kernel: table */
/* A function of each value, for all 256 of them computed in advance. */
static void table(const int8_t *in, int8_t *out, int n, const int8_t values[256]) {
  for (int i = 0; i < n; i++) out[i] = values[in[i] + 128];
}

/* kernel: add */
/* a + b or, with a negative multiplier of b, a - b; one of the two may be repeated. */
static void add(const binary_t *p, const int8_t *a, const int8_t *b, int8_t *out) {
  for (int i = 0; i < p->n; i++) {
    const int32_t x = (a[place(i, p->a)] - p->a_zero) * (1 << 20);
    const int32_t y = (b[place(i, p->b)] - p->b_zero) * (1 << 20);
    const int32_t first = requantized(x, p->a_multiplier, p->a_shift);
    const int32_t second = requantized(y, p->b_multiplier, p->b_shift);
    const int32_t sum = p->minus ? first - second : first + second;
    out[i] = limited(requantized(sum, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
  }
}

/* kernel: multiply */
static void multiply(const binary_t *p, const int8_t *a, const int8_t *b, int8_t *out) {
  for (int i = 0; i < p->n; i++) {
    const int32_t product =
        (a[place(i, p->a)] - p->a_zero) * (b[place(i, p->b)] - p->b_zero);
    out[i] =
        limited(requantized(product, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
  }
}
