/* kernel: conv_2d */
static void conv_2d(const window_t *p, const scaling_t *s, const value_t *in, value_t *out) {
  const int taps = p->kernel_h * p->kernel_w * p->group_c;
  for (int y = 0; y < p->out_h; y++)
    for (int x = 0; x < p->out_w; x++) {
      const range_t rows =
          inside(y * p->stride_h - p->pad_top, p->kernel_h, p->dilation_h, p->in_h);
      const range_t columns =
          inside(x * p->stride_w - p->pad_left, p->kernel_w, p->dilation_w, p->in_w);
      for (int o = 0; o < p->out_c; o++) {
        const int from = o / (p->out_c / (p->in_c / p->group_c)) * p->group_c;
        const value_t *weights = s->weights + o * taps;
        sum_t sum = s->bias ? s->bias[o] : 0;
        for (int i = rows.first; i < rows.end; i++)
          for (int j = columns.first; j < columns.end; j++) {
            const int at = (rows.start + i * p->dilation_h) * p->in_w + columns.start +
                           j * p->dilation_w;
            const value_t *values = in + at * p->in_c + from;
            const value_t *of = weights + (i * p->kernel_w + j) * p->group_c;
            for (int c = 0; c < p->group_c; c++) sum += of[c] * CENTRED(s, values[c]);
          }
        *out++ = FINISHED(s, sum, o);
      }
    }
}

/* kernel: depthwise_conv_2d */
/* in_c * group_c channels come out: group_c for each that goes in. */
static void depthwise_conv_2d(const window_t *p, const scaling_t *s, const value_t *in,
                              value_t *out) {
  for (int y = 0; y < p->out_h; y++)
    for (int x = 0; x < p->out_w; x++) {
      const range_t rows =
          inside(y * p->stride_h - p->pad_top, p->kernel_h, p->dilation_h, p->in_h);
      const range_t columns =
          inside(x * p->stride_w - p->pad_left, p->kernel_w, p->dilation_w, p->in_w);
      for (int o = 0; o < p->out_c; o++) {
        sum_t sum = s->bias ? s->bias[o] : 0;
        for (int i = rows.first; i < rows.end; i++)
          for (int j = columns.first; j < columns.end; j++) {
            const int at = (rows.start + i * p->dilation_h) * p->in_w + columns.start +
                           j * p->dilation_w;
            sum += s->weights[(i * p->kernel_w + j) * p->out_c + o] *
                   CENTRED(s, in[at * p->in_c + o / p->group_c]);
          }
        *out++ = FINISHED(s, sum, o);
      }
    }
}

/* kernel: fully_connected */
static void fully_connected(const scaling_t *s, const value_t *in, value_t *out, int rows, int n,
                            int outputs) {
  for (int row = 0; row < rows; row++, in += n)
    for (int o = 0; o < outputs; o++) {
      sum_t sum = s->bias ? s->bias[o] : 0;
      for (int i = 0; i < n; i++) sum += s->weights[o * n + i] * CENTRED(s, in[i]);
      *out++ = FINISHED(s, sum, o);
    }
}

/* kernel: copy_padded */
/* Copies [h][w][c] into the middle of an area filled with one value. */
static void copy_padded(const value_t *in, value_t *out, int h, int w, int c, int top, int left,
                        int out_h, int out_w, value_t fill) {
  for (int i = 0; i < out_h * out_w * c; i++) out[i] = fill;
  for (int y = 0; y < h; y++)
    memcpy(out + ((y + top) * out_w + left) * c, in + y * w * c, (size_t)(w * c) * sizeof *in);
}

/* kernel: transpose */
/* Reorders up to five axes: out[i0..i4] is in[...] with axis k read in steps of step[k] values. */
static void transpose(const value_t *in, value_t *out, const int size[5], const int step[5]) {
  for (int a = 0; a < size[0]; a++)
    for (int b = 0; b < size[1]; b++)
      for (int c = 0; c < size[2]; c++)
        for (int d = 0; d < size[3]; d++)
          for (int e = 0; e < size[4]; e++)
            *out++ = in[a * step[0] + b * step[1] + c * step[2] + d * step[3] + e * step[4]];
}

/* kernel: join */
/* Writes rows of n values into rows of row values, beginning at column at. */
static void join(const value_t *in, value_t *out, int rows, int n, int row, int at) {
  for (int i = 0; i < rows; i++)
    memcpy(out + i * row + at, in + i * n, (size_t)n * sizeof *in);
}

/* kernel: max_pool */
static void max_pool(const window_t *p, const value_t *in, value_t *out, value_t low,
                     value_t high) {
  for (int y = 0; y < p->out_h; y++)
    for (int x = 0; x < p->out_w; x++)
      for (int c = 0; c < p->in_c; c++) {
        const range_t rows = inside(y * p->stride_h - p->pad_top, p->kernel_h, 1, p->in_h);
        const range_t columns = inside(x * p->stride_w - p->pad_left, p->kernel_w, 1, p->in_w);
        value_t largest = LOWEST;
        for (int i = rows.first; i < rows.end; i++)
          for (int j = columns.first; j < columns.end; j++) {
            const value_t value = in[((rows.start + i) * p->in_w + columns.start + j) * p->in_c + c];
            if (value > largest) largest = value;
          }
        *out++ = largest < low ? low : largest > high ? high : largest;
      }
}
