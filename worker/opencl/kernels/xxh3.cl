/* xxh3.cl - XXH3-64 (xxHash 0.8) of rows in memory, as seal.h makes it: a whole number of 8 bytes,
 * in words of as many. */

__constant ulong secret[24] = {
    0xbe4ba423396cfeb8ul, 0x1cad21f72c81017cul, 0xdb979083e96dd4deul, 0x1f67b3b7a4a44072ul,
    0x78e5c0cc4ee679cbul, 0x2172ffcc7dd05a82ul, 0x8e2443f7744608b8ul, 0x4c263a81e69035e0ul,
    0xcb00c391bb52283cul, 0xa32e531b8b65d088ul, 0x4ef90da297486471ul, 0xd8acdea946ef1938ul,
    0x3f349ce33f76faa8ul, 0x1d4f0bc7c7bbdcf9ul, 0x3159b4cd4be0518aul, 0x647378d9c97e9fc8ul,
    0xc3ebd33483acc5eaul, 0xeb6313faffa081c5ul, 0x49daf0b751dd0d17ul, 0x9e68d429265516d3ul,
    0xfca1477d58be162bul, 0xce31d07ad1b8f88ful, 0x280416958f3acb45ul, 0x7e404bbbcafbd7aful,
};

#define PRIME32_1 0x9E3779B1ul
#define PRIME32_2 0x85EBCA77ul
#define PRIME32_3 0xC2B2AE3Dul
#define PRIME64_1 0x9E3779B185EBCA87ul
#define PRIME64_2 0xC2B2AE3D27D4EB4Ful
#define PRIME64_3 0x165667B19E3779F9ul
#define PRIME64_4 0x85EBCA77C2B2AE63ul
#define PRIME64_5 0x27D4EB2F165667C5ul

/* 8 bytes of the secret from a byte on, the seed mixed in as long inputs have it: words in turn
 * plus and minus the seed. */
static ulong secret_at(uint byte, ulong seed)
{
    uint i = byte / 8, shift = byte % 8 * 8;
    ulong low = secret[i] + (i % 2 ? -seed : seed);
    if (shift == 0)
        return low;
    ulong high = secret[i + 1] + (i % 2 ? seed : -seed);
    return low >> shift | high << (64 - shift);
}

static ulong fold_product(ulong a, ulong b)
{
    return (a * b) ^ mul_hi(a, b);
}

static ulong avalanche(ulong h)
{
    h ^= h >> 37;
    h *= 0x165667919E3779F9ul;
    return h ^ h >> 32;
}

/* 16 bytes from word i; the secret from a byte on, as it is. */
static ulong mix_16(__local const ulong *in, uint i, uint byte, ulong seed)
{
    return fold_product(in[i] ^ (secret_at(byte, 0) + seed),
                        in[i + 1] ^ (secret_at(byte + 8, 0) - seed));
}

static ulong swap_bytes(ulong x)
{
    return as_ulong(as_uchar8(x).s76543210);
}

static ulong hash_8(ulong in, ulong seed)
{
    uint low = (uint)seed;
    seed ^= (ulong)as_uint(as_uchar4(low).s3210) << 32;
    ulong h = ((in >> 32) + (in << 32)) ^ ((secret_at(8, 0) ^ secret_at(16, 0)) - seed);
    h ^= rotate(h, 49ul) ^ rotate(h, 24ul);
    h *= 0x9FB21C651E98DF25ul;
    h ^= (h >> 35) + 8;
    h *= 0x9FB21C651E98DF25ul;
    return h ^ h >> 28;
}

static ulong hash_16(__local const ulong *in, ulong seed)
{
    ulong low = in[0] ^ ((secret_at(24, 0) ^ secret_at(32, 0)) + seed);
    ulong high = in[1] ^ ((secret_at(40, 0) ^ secret_at(48, 0)) - seed);
    return avalanche(16 + swap_bytes(low) + high + fold_product(low, high));
}

static ulong hash_short(__local const ulong *in, uint bytes, ulong seed)
{
    ulong h = bytes * PRIME64_1;
    uint last = bytes / 8 - 2;
    for (int i = (int)(bytes - 1) / 32; i >= 0; i--) {
        h += mix_16(in, (uint)i * 2, (uint)i * 32, seed);
        h += mix_16(in, last - (uint)i * 2, (uint)i * 32 + 16, seed);
    }
    return avalanche(h);
}

static ulong hash_middle(__local const ulong *in, uint bytes, ulong seed)
{
    ulong h = bytes * PRIME64_1;
    for (uint i = 0; i < 8; i++)
        h += mix_16(in, i * 2, i * 16, seed);
    h = avalanche(h);
    for (uint i = 8; i < bytes / 16; i++)
        h += mix_16(in, i * 2, (i - 8) * 16 + 3, seed);
    return avalanche(h + mix_16(in, bytes / 8 - 2, 136 - 17, seed));
}

static void accumulate(ulong *acc, __local const ulong *in, uint byte, ulong seed)
{
    for (uint i = 0; i < 8; i++) {
        ulong key = in[i] ^ secret_at(byte + i * 8, seed);
        acc[i ^ 1] += in[i];
        acc[i] += (key & 0xfffffffful) * (key >> 32);
    }
}

static ulong hash_long(__local const ulong *in, uint bytes, ulong seed)
{
    ulong acc[8] = {PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3,
                    PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1};
    uint stripes = (bytes - 1) / 64;
    for (uint n = 0; n < stripes; n++) {
        accumulate(acc, in + n * 8, n % 16 * 8, seed);
        for (uint i = 0; n % 16 == 15 && i < 8; i++) {
            acc[i] ^= acc[i] >> 47;
            acc[i] ^= secret_at(128 + i * 8, seed);
            acc[i] *= PRIME32_1;
        }
    }
    accumulate(acc, in + bytes / 8 - 8, 128 - 7, seed);
    ulong h = bytes * PRIME64_1;
    for (uint i = 0; i < 4; i++)
        h += fold_product(acc[2 * i] ^ secret_at(11 + 16 * i, seed),
                          acc[2 * i + 1] ^ secret_at(11 + 16 * i + 8, seed));
    return avalanche(h);
}

static ulong xxh3(__local const ulong *in, uint bytes, ulong seed)
{
    if (bytes <= 16)
        return bytes == 8 ? hash_8(in[0], seed) : hash_16(in, seed);
    if (bytes <= 128)
        return hash_short(in, bytes, seed);
    return bytes <= 240 ? hash_middle(in, bytes, seed) : hash_long(in, bytes, seed);
}
