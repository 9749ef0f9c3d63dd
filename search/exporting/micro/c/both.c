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
