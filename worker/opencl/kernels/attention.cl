/* attention.cl - what comes between the products of the attention half: biases, norms, RoPE, K/V
 * rows and their digests; then attention itself, block by block (k_attention.c).
 *
 * Blocks of K/V: K [POSITIONS][head_dim], V likewise, digests [POSITIONS] of 32 bits. A block's
 * number is slab << 28 | number in the slab. */

static __global uchar *block_at(uint block, uint block_bytes, SLAB_PARAMS)
{
    ulong offset = (ulong)(block & 0xfffffffu) * block_bytes;
    return at_address((ulong)(block >> 28) << 48 | offset, SLABS);
}

/* What becomes of a head's vector; NULL: nothing. */
struct finish {
    __global const float *bias, *norm;
    __global const float *whole; /* its part of a norm of all heads, ... */
    float scale;                 /* ... which is of this size */
    __global const float *angles;
};

/* Finishes a head's vector with 16 lanes: v [head_dim] in memory is left in `out`. All work-items of
 * the group take part; those without a vector (here false) only wait. */
static void finish_vector(bool here, __global const float *v, struct finish f, float eps,
                          uint head_dim, __local float *out, __local float *sums)
{
    uint lane = get_local_id(0) % 16;
    __global const float *norm = f.norm, *angles = f.angles;
    float square = 0.0f;
    for (uint i = lane; here && i < head_dim; i += 16) {
        float x = v[i];
        if (f.bias)
            x += f.bias[i];
        if (f.whole)
            x = x * f.scale * f.whole[i];
        out[i] = x;
        square = fma(x, x, square);
    }
    sums[get_local_id(0)] = square;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (here && norm) {
        float mean = fold(vload16(0, sums + get_local_id(0) / 16 * 16)) / (float)head_dim;
        float scale = 1.0f / sqrt(mean + eps);
        for (uint i = lane; i < head_dim; i += 16)
            out[i] = out[i] * scale * norm[i];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 2 * lane; here && angles && i < head_dim; i += 32) {
        float a = out[i], b = out[i + 1], c = angles[i], s = angles[i + 1];
        out[i] = fma(a, c, -(b * s));
        out[i + 1] = fma(b, c, a * s);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

static void put_value(__global uchar *row, uint f16, uint i, float v)
{
    if (f16)
        vstore_half_rte(v, i, (__global half *)row);
    else
        ((__global float *)row)[i] = v;
}

/* What a head's vectors are: struct hd_cl_head. */
struct head {
    ulong q_bias, k_bias, v_bias, q_norm, k_norm, q_whole, k_whole, sinks;
};

static __global const float *vector_at(ulong address, SLAB_PARAMS)
{
    return address == NOWHERE ? 0 : (__global const float *)at_address(address, SLABS);
}

/* Biases and norms lie in the weights' slabs, K/V in its own: a launch with the weights' copies
 * what it needs of them first (vectors), so that this one needs one set of slabs only.
 * vectors: [units], each of VECTORS floats: q_bias [n_rep][head_dim], then q_whole likewise, k_bias,
 * v_bias, q_norm, k_norm, k_whole [head_dim], sinks [n_rep]. */
#define VECTORS(n_rep, head_dim)       ((2 * (n_rep) + 5) * (head_dim) + (n_rep))
#define VECTOR(n, n_rep, head_dim)     ((2 * (n_rep) + (n)) * (head_dim)) /* of k_bias and on */

__kernel void gather_vectors(SLAB_PARAMS, __global const uchar *in, uint heads_at,
                             __global float *out, uint n_rep, uint head_dim)
{
    uint i = get_global_id(0), unit = get_global_id(1), wide = n_rep * head_dim;
    if (i >= VECTORS(n_rep, head_dim))
        return;
    struct head h = ((__global const struct head *)(in + heads_at))[unit];
    const ulong narrow[6] = {h.k_bias, h.v_bias, h.q_norm, h.k_norm, h.k_whole, h.sinks};
    ulong at = i < wide ? h.q_bias : h.q_whole;
    uint first = i < wide ? 0 : wide;
    if (i >= 2 * wide) {
        uint n = min((i - 2 * wide) / head_dim, 5u);
        at = narrow[n];
        first = 2 * wide + n * head_dim;
    }
    __global const float *from = vector_at(at, SLABS);
    out[(ulong)unit * VECTORS(n_rep, head_dim) + i] = from ? from[i - first] : 0.0f;
}

#define HAS_Q_BIAS 1
#define HAS_K_BIAS 2
#define HAS_V_BIAS 4
#define HAS_Q_NORM 8
#define HAS_K_NORM 16
#define HAS_Q       32 /* else only K and V: rows of a list */
#define HAS_Q_WHOLE 64
#define HAS_K_WHOLE 128
#define HAS_SINKS   256

/* q: [units][row_stride][n_rep * head_dim], finished in place; k and v, behind it:
 * [units][row_stride][head_dim]. cs: [positions][sets][head_dim]; a place says which set. */
#define FINISH_PARAMS                                                                              \
    __global float *q, uint k_at, uint v_at, __global const float *vectors,                        \
        __global const float *cs, uint angles_stride, uint row_stride, uint n_rep, uint head_dim,  \
        uint has, float eps, uint f16, uint block_bytes
#define FINISH_ARGUMENTS                                                                           \
    q, k_at, v_at, vectors, cs, angles_stride, row_stride, n_rep, head_dim, has, eps, f16,         \
        block_bytes

/* One row of one unit, by a work-group: teams of 16 take a vector each. scratch: head_dim floats for
 * each team, sums: a float for each work-item. */
static void finish_row(SLAB_PARAMS, struct place p, uint unit, uint row, FINISH_PARAMS,
                       __local float *scratch, __local float *sums)
{
    uint l = get_local_id(0), team = l / 16, teams = get_local_size(0) / 16;
    ulong at = (ulong)unit * row_stride + row;
    __global const float *k = q + k_at, *v = q + v_at, *none = 0;
    __local float *mine = scratch + team * head_dim;
    uint row_bytes = head_dim * (f16 ? 2 : 4);
    vectors += (ulong)unit * VECTORS(n_rep, head_dim);
    __global const float *angles =
        p.set != ~0u ? cs + (ulong)p.position * angles_stride + p.set * head_dim : 0;
    __global const float *narrow = vectors + VECTOR(0, n_rep, head_dim);
    const struct finish of_k = {has & HAS_K_BIAS ? narrow : none,
                                has & HAS_K_NORM ? narrow + 3 * head_dim : none,
                                has & HAS_K_WHOLE ? narrow + 4 * head_dim : none, p.k_scale,
                                angles};
    uint n = has & HAS_Q ? n_rep : 0;
    for (uint first = 0; first < n; first += teams) {
        uint r = first + team;
        __global float *qr = q + (at * n_rep + r) * head_dim;
        const struct finish of_q = {has & HAS_Q_BIAS ? vectors + r * head_dim : none,
                                    has & HAS_Q_NORM ? narrow + 2 * head_dim : none,
                                    has & HAS_Q_WHOLE ? vectors + (n_rep + r) * head_dim : none,
                                    p.q_scale, angles};
        finish_vector(r < n, qr, of_q, eps, head_dim, mine, sums);
        for (uint i = l % 16; r < n && i < head_dim; i += 16)
            qr[i] = mine[i];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    finish_vector(p.store && team == 0, k + at * head_dim, of_k, eps, head_dim, mine, sums);
    __global uchar *block = block_at(p.block, block_bytes, SLABS);
    uint in_block = p.position % POSITIONS;
    for (uint i = l; p.store && i < head_dim; i += get_local_size(0)) {
        float value = v[at * head_dim + i];
        if (has & HAS_V_BIAS)
            value += narrow[head_dim + i];
        put_value(block + in_block * row_bytes, f16, i, scratch[i]); /* the first team's */
        put_value(block + (POSITIONS + in_block) * row_bytes, f16, i, value);
    }
}

/* The flags of the sum that comes next, cleared by all work-groups of [rows][units]. */
static void clear_flags(__global uint *flags, uint n)
{
    uint group = get_group_id(0) + get_group_id(1) * get_num_groups(0);
    uint step = get_num_groups(0) * get_num_groups(1) * get_local_size(0);
    for (uint i = group * get_local_size(0) + get_local_id(0); i < n; i += step)
        flags[i] = 0;
}

static struct place place_of(__global const uchar *in, uint places_at)
{
    __global const struct place *places = (__global const struct place *)(in + places_at);
    return places[get_group_id(1) * get_num_groups(0) + get_group_id(0)];
}

#define ROW_ITEMS 64

/* Work-groups [rows][units] of ROW_ITEMS. */
__kernel __attribute__((reqd_work_group_size(ROW_ITEMS, 1, 1))) void
finish_rows(SLAB_PARAMS, __global const uchar *in, uint places_at, FINISH_PARAMS,
            __global uint *flags, uint n_flags, __local float *scratch)
{
    __local float sums[ROW_ITEMS];
    clear_flags(flags, n_flags);
    finish_row(SLABS, place_of(in, places_at), get_group_id(1), get_group_id(0), FINISH_ARGUMENTS,
               scratch, sums);
}

/* Digests of what was stored: work-groups [rows][units] of 32. room: two rows of K/V. */
__kernel __attribute__((reqd_work_group_size(32, 1, 1))) void
seal_rows(SLAB_PARAMS, __global const uchar *in, uint places_at, uint row_bytes, uint block_bytes,
          __local ulong *room)
{
    struct place p = place_of(in, places_at);
    if (!p.store)
        return;
    __global uchar *block = block_at(p.block, block_bytes, SLABS);
    uint in_block = p.position % POSITIONS, words = row_bytes / 8;
    __global const ulong *k = (__global const ulong *)(block + in_block * row_bytes);
    for (uint i = get_local_id(0); i < words; i += 32) {
        room[i] = k[i];
        room[words + i] = k[POSITIONS * words + i];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (get_local_id(0) == 0) {
        ulong seed = xxh3(room, row_bytes, 0);
        ((__global uint *)(block + 2 * POSITIONS * row_bytes))[in_block] =
            (uint)xxh3(room + words, row_bytes, seed);
    }
}

/* ---- Attention ----*/

#define ITEMS   128
#define AT_ONCE 16 /* values of V that are on the way together */

/* Two 16-bit floats of a word. */
static float2 halves(uint word)
{
#if HD_NVIDIA
    float2 v;
    __asm__("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
            : "=f"(v.x), "=f"(v.y)
            : "r"(word));
    return v;
#else
    return vload_half2(0, (const half *)&word);
#endif
}

/* 16 values from value i of a row on, which is a multiple of 16: 16 bytes at a time. */
static float16 load_16(__global const uchar *row, uint f16, uint i)
{
    if (!f16) {
        __global const float4 *from = (__global const float4 *)((__global const float *)row + i);
        return (float16)(from[0], from[1], from[2], from[3]);
    }
    __global const uint4 *from = (__global const uint4 *)(row + i * 2);
    uint4 a = from[0], b = from[1];
    return (float16)(halves(a.x), halves(a.y), halves(a.z), halves(a.w), halves(b.x), halves(b.y),
                     halves(b.z), halves(b.w));
}

static float load_1(__global const uchar *rows, uint f16, uint i)
{
    return f16 ? vload_half(i, (__global const half *)rows) : ((__global const float *)rows)[i];
}

/* The same of a row of K in local memory. */
static float16 load_16_local(__local const uchar *row, uint f16, uint i)
{
    if (!f16)
        return vload16(0, (__local const float *)row + i);
    __local const uint4 *from = (__local const uint4 *)(row + i * 2);
    uint4 a = from[0], b = from[1];
    return (float16)(halves(a.x), halves(a.y), halves(a.z), halves(a.w), halves(b.x), halves(b.y),
                     halves(b.z), halves(b.w));
}

#define APART 16 /* bytes between rows of K there: 16 bytes of 8 rows lie in different banks */

/* Copies a block's K [POSITIONS][row_bytes]; row_bytes is a multiple of 16. */
static void copy_keys(__global const uchar *k, uint row_bytes, __local uchar *to)
{
    uint parts = row_bytes / 16;
    for (uint i = get_local_id(0); i < POSITIONS * parts; i += ITEMS)
        *(__local uint4 *)(to + i / parts * (row_bytes + APART) + i % parts * 16) =
            ((__global const uint4 *)k)[i];
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* q.k [head_dim] over 16 lanes, head_dim a multiple. */
static float local_score_of(__local const float *q, __local const uchar *k, uint f16, uint head_dim)
{
    float16 dot = (float16)(0.0f);
    for (uint d = 0; d < head_dim; d += 16)
        dot = fma(vload16(0, q + d), load_16_local(k, f16, d), dot);
    return fold(dot);
}

/* q.k [head_dim] over 16 lanes. */
static float score_of(__local const float *q, __global const uchar *k, uint f16, uint head_dim)
{
    float16 dot = (float16)(0.0f);
    uint whole = head_dim % 16 == 0 ? head_dim : 0;
    for (uint d = 0; d < whole; d += 16)
        dot = fma(vload16(0, q + d), load_16(k, f16, d), dot);
    for (uint d = whole; d < head_dim; d += 16) { /* such rows lie on no multiple of 16 bytes */
        float of_q[16], of_k[16];
        for (uint i = 0; i < 16; i++) {
            of_q[i] = d + i < head_dim ? q[d + i] : 0.0f;
            of_k[i] = d + i < head_dim ? load_1(k, f16, d + i) : 0.0f;
        }
        dot = fma(vload16(0, of_q), vload16(0, of_k), dot);
    }
    return fold(dot);
}

/* What a work-group's heads have of segments, as k_attention.c: of the one in hand, and of those
 * before it. */
struct sums {
    __local float *now, *before; /* [heads][head_dim] */
    __local float *top, *total;  /* [heads]: of now */
    __local float *before_top, *before_total, *mine, *other;
};

/* before += now, which begins anew; the first of all becomes it as it is. */
static void end_segment(struct sums s, bool first, uint heads, uint head_dim)
{
    for (uint r = get_local_id(0); r < heads; r += ITEMS) {
        float most = first || s.top[r] > s.before_top[r] ? s.top[r] : s.before_top[r];
        float mine = first ? 0.0f : own_exp(s.before_top[r] - most);
        float other = own_exp(s.top[r] - most);
        s.mine[r] = mine;
        s.other[r] = other;
        s.before_total[r] = first ? s.total[r] : fma(s.before_total[r], mine, s.total[r] * other);
        s.before_top[r] = most;
        s.top[r] = -INFINITY;
        s.total[r] = 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = get_local_id(0); i < heads * head_dim; i += ITEMS) {
        uint r = i / head_dim;
        s.before[i] = first ? s.now[i] : fma(s.before[i], s.mine[r], s.now[i] * s.other[r]);
        s.now[i] = 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* Work-groups [rows][units][n_rep / heads] of ITEMS: `heads` query heads of a row. What they give
 * is quantized (width of a row: n_rep * head_dim) or, with is_f32, left in place of q. With
 * `finishes` a work-group has all heads of a row and finishes it first: then no other row of the
 * launch may see the K/V rows that it stores. With `copies` there is room for a block's K.
 */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention(SLAB_PARAMS, __global const uchar *in, uint places_at, uint list_at, FINISH_PARAMS,
          __global char *out_q, __global float2 *out_d, uint heads_most, float cap,
          float inverse_cap, uint window, uint is_f32, uint finishes, __global uint *flags,
          uint n_flags, __local float *ql, __local float *sum, __local float *before,
          __local float *p, __local float *scratch, uint copies, __local uint4 *key_room)
{
    __local float top[64], total[64], correction[64], before_top[64], before_total[64], other[64];
    __local int t[ITEMS];
    __local float *lanes = (__local float *)t; /* 16 of up to 8 heads at a time */
    uint row = get_group_id(0), unit = get_group_id(1), l = get_local_id(0);
    uint head0 = get_group_id(2) * heads_most, heads = min(n_rep - head0, heads_most);
    struct place at = place_of(in, places_at);
    __global const uint *list = (__global const uint *)(in + list_at);
    uint n_pos = at.position + 1, row_bytes = head_dim * (f16 ? 2 : 4);
    uint first_seen = window > 0 && n_pos > window ? n_pos - window : 0;
    struct sums all = {sum, before, top, total, before_top, before_total, correction, other};
    uint width = heads * head_dim;
    __local uchar *keys = (__local uchar *)key_room;
    ulong plane = (ulong)unit * row_stride + row;
    if (finishes) {
        clear_flags(flags, n_flags);
        finish_row(SLABS, at, unit, row, FINISH_ARGUMENTS, scratch, lanes);
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    }
    q += (plane * n_rep + head0) * head_dim;
    for (uint i = l; i < width; i += ITEMS) {
        ql[i] = q[i];
        sum[i] = 0.0f;
    }
    __global const float *sinks =
        vectors + (ulong)unit * VECTORS(n_rep, head_dim) + VECTOR(5, n_rep, head_dim) + head0;
    for (uint r = l; r < heads; r += ITEMS) { /* a sink is as if it had been the first score: */
        top[r] = has & HAS_SINKS ? sinks[r] : -INFINITY;
        total[r] = has & HAS_SINKS ? 1.0f : 0.0f; /* exp(0) */
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint b = first_seen / POSITIONS; b * POSITIONS < n_pos; b++) {
        __global const uchar *k = block_at(list[at.list + b], block_bytes, SLABS);
        __global const uchar *v = k + POSITIONS * row_bytes;
        uint first = first_seen > b * POSITIONS ? first_seen - b * POSITIONS : 0;
        uint end = min(n_pos - b * POSITIONS, (uint)POSITIONS);
        if (copies)
            copy_keys(k, row_bytes, keys);
        for (uint i = l; i < heads * POSITIONS; i += ITEMS) {
            uint r = i / POSITIONS, j = i % POSITIONS;
            float s = -INFINITY;
            if (j >= first && j < end) {
                s = copies ? local_score_of(ql + r * head_dim, keys + j * (row_bytes + APART), f16,
                                            head_dim)
                           : score_of(ql + r * head_dim, k + j * row_bytes, f16, head_dim);
                s *= at.scale;
                if (cap > 0.0f)
                    s = soft_cap(s, cap, inverse_cap);
            }
            p[i] = s;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint r0 = 0; r0 < heads; r0 += ITEMS / 16) {
            uint r = r0 + l / 16;
            float most = -INFINITY;
            for (uint j = l % 16; r < heads && j < POSITIONS; j += 16) {
                float s = p[r * POSITIONS + j];
                most = most > s ? most : s;
            }
            lanes[l] = most;
            barrier(CLK_LOCAL_MEM_FENCE);
            if (l % 16 == 0 && r < heads) {
                most = top[r];
                for (uint i = 0; i < 16; i++)
                    most = most > lanes[l + i] ? most : lanes[l + i];
                correction[r] = own_exp(top[r] - most);
                top[r] = most;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            float part = 0.0f;
            for (uint j = l % 16; r < heads && j < POSITIONS; j += 16) {
                float e = own_exp(p[r * POSITIONS + j] - top[r]);
                p[r * POSITIONS + j] = e;
                part += e;
            }
            lanes[l] = part;
            barrier(CLK_LOCAL_MEM_FENCE);
            if (l % 16 == 0 && r < heads)
                total[r] = fma(total[r], correction[r], fold(vload16(0, lanes + l)));
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        for (uint i = l; i < width; i += ITEMS) {
            uint r = i / head_dim, d = i % head_dim;
            __local const float *weight = p + r * POSITIONS;
            float s = sum[i] * correction[r];
            uint j = first;
            for (; j + AT_ONCE <= end; j += AT_ONCE) { /* loads first, then the chain */
                float value[AT_ONCE];
                for (uint k = 0; k < AT_ONCE; k++)
                    value[k] = load_1(v, f16, (j + k) * head_dim + d);
                for (uint k = 0; k < AT_ONCE; k++)
                    s = fma(value[k], weight[j + k], s);
            }
            for (; j < end; j++)
                s = fma(load_1(v, f16, j * head_dim + d), weight[j], s);
            sum[i] = s;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if ((b + 1) % SEGMENT == 0 || (b + 1) * POSITIONS >= n_pos)
            end_segment(all, b / SEGMENT == first_seen / (SEGMENT * POSITIONS), heads, head_dim);
    }
    for (uint i = l; i < width; i += ITEMS) {
        float of = before_total[i / head_dim];
        sum[i] = before[i] * (of == 0.0f ? 0.0f : 1.0f / of);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (is_f32) {
        for (uint i = l; i < width; i += ITEMS)
            q[i] = sum[i];
    } else {
        uint blocks = n_rep * head_dim / BLOCK;
        quantize(sum, width, t, out_q + (plane * n_rep + head0) * head_dim,
                 out_d + ((ulong)unit * blocks + head0 * head_dim / BLOCK) * row_stride + row,
                 row_stride);
    }
}
