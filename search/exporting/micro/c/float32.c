/* kernel: limited */
static float limited(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

/* kernel: average_pool */
static void average_pool(const window_t *p, const float *in, float *out, float low, float high) {
  for (int y = 0; y < p->out_h; y++)
    for (int x = 0; x < p->out_w; x++)
      for (int c = 0; c < p->in_c; c++) {
        const range_t rows = inside(y * p->stride_h - p->pad_top, p->kernel_h, 1, p->in_h);
        const range_t columns = inside(x * p->stride_w - p->pad_left, p->kernel_w, 1, p->in_w);
        const int count = (rows.end - rows.first) * (columns.end - columns.first);
        float sum = 0;
        for (int i = rows.first; i < rows.end; i++)
          for (int j = columns.first; j < columns.end; j++)
            sum += in[((rows.start + i) * p->in_w + columns.start + j) * p->in_c + c];
        *out++ = limited(sum / (float)count, low, high);
      }
}

/* kernel: mean */
/* Of each channel over all places. */
static void mean(const float *in, float *out, int places, int c) {
  for (int o = 0; o < c; o++) {
    float sum = 0;
    for (int i = 0; i < places; i++) sum += in[i * c + o];
    out[o] = sum / (float)places;
  }
}

/* kernel: add */
/* a + b or a - b; one of the two may be repeated. */
static void add(const binary_t *p, const float *a, const float *b, float *out) {
  for (int i = 0; i < p->n; i++) {
    const float x = a[place(i, p->a)], y = b[place(i, p->b)];
    out[i] = limited(p->minus ? x - y : x + y, p->low, p->high);
  }
}

/* kernel: multiply */
static void multiply(const binary_t *p, const float *a, const float *b, float *out) {
  for (int i = 0; i < p->n; i++)
    out[i] = limited(a[place(i, p->a)] * b[place(i, p->b)], p->low, p->high);
}

/* kernel: relu */
static float relu(float x, const float *p) { return x < 0 ? 0 : x > p[0] ? p[0] : x; }

/* kernel: logistic */
static float logistic(float x, const float *p) { return (void)p, 1 / (1 + expf(-x)); }

/* kernel: hyperbolic_tangent */
static float hyperbolic_tangent(float x, const float *p) { return (void)p, tanhf(x); }

/* kernel: hard_swish */
static float hard_swish(float x, const float *p) {
  return (void)p, x * (x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6);
}

/* kernel: each */
static void each(const float *in, float *out, int n, float (*of)(float, const float *),
                 const float *p) {
  for (int i = 0; i < n; i++) out[i] = of(in[i], p);
}
