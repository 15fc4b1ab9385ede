// Numbers modulo p = 2^255 - 19 and L, as eight limbs of 32 bits, lowest first: portable to every
// compiler, and fast enough for one signature at start.
#include <algorithm>
#include <optional>

#include "chipdrift_crypto.h"

namespace chipdrift {
namespace {

using Number = std::array<std::uint32_t, 8>;

constexpr Number kPrime = {0xffffffed, 0xffffffff, 0xffffffff, 0xffffffff,
                           0xffffffff, 0xffffffff, 0xffffffff, 0x7fffffff};
// The base point's order: 2^252 + 27742317777372353535851937790883648493.
constexpr Number kOrder = {0x5cf5d3ed, 0x5812631a, 0xa2f79cd6, 0x14def9de, 0, 0, 0, 0x10000000};

bool less(const Number& a, const Number& b) {
  for (std::size_t i = 8; i-- > 0;) {
    if (a[i] != b[i]) return a[i] < b[i];
  }
  return false;
}

// a - b, for a >= b.
Number minus(const Number& a, const Number& b) {
  Number found{};
  std::uint64_t borrow = 0;
  for (std::size_t i = 0; i < 8; i++) {
    const std::uint64_t part = std::uint64_t{a[i]} - b[i] - borrow;
    found[i] = static_cast<std::uint32_t>(part);
    borrow = part >> 63;
  }
  return found;
}

// a + b without a carry out of 256 bits: both are below 2^255.
Number plus(const Number& a, const Number& b) {
  Number found{};
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < 8; i++) {
    carry += std::uint64_t{a[i]} + b[i];
    found[i] = static_cast<std::uint32_t>(carry);
    carry >>= 32;
  }
  return found;
}

bool is_zero(const Number& a) {
  return std::all_of(a.begin(), a.end(), [](std::uint32_t limb) { return limb == 0; });
}

bool bit(const Number& a, int at) { return (a[at / 32] >> (at % 32) & 1) != 0; }

// An element of the field, always below p.
struct Field {
  Number n{};

  friend Field operator+(const Field& a, const Field& b) {
    const Number sum = plus(a.n, b.n);
    return {less(sum, kPrime) ? sum : minus(sum, kPrime)};
  }
  friend Field operator-(const Field& a, const Field& b) {
    return {less(a.n, b.n) ? minus(plus(a.n, kPrime), b.n) : minus(a.n, b.n)};
  }
  friend Field operator*(const Field& a, const Field& b) {
    std::array<std::uint32_t, 16> wide{};
    for (std::size_t i = 0; i < 8; i++) {
      std::uint64_t carry = 0;
      for (std::size_t j = 0; j < 8; j++) {
        carry += wide[i + j] + std::uint64_t{a.n[i]} * b.n[j];
        wide[i + j] = static_cast<std::uint32_t>(carry);
        carry >>= 32;
      }
      wide[i + 8] = static_cast<std::uint32_t>(carry);
    }
    // 2^256 is 38 modulo p: fold the upper half, then what that carries out.
    Number found{};
    std::uint64_t carry = 0;
    for (std::size_t i = 0; i < 8; i++) {
      carry += wide[i] + std::uint64_t{38} * wide[i + 8];
      found[i] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    while (carry > 0) {
      carry *= 38;
      for (std::size_t i = 0; i < 8; i++) {
        carry += found[i];
        found[i] = static_cast<std::uint32_t>(carry);
        carry >>= 32;
      }
    }
    while (!less(found, kPrime)) found = minus(found, kPrime);
    return {found};
  }
  friend bool operator==(const Field& a, const Field& b) { return a.n == b.n; }
};

Field small(std::uint32_t value) { return {{value, 0, 0, 0, 0, 0, 0, 0}}; }

Field raised(const Field& base, const Number& exponent) {
  Field found = small(1);
  for (int at = 255; at >= 0; at--) {
    found = found * found;
    if (bit(exponent, at)) found = found * base;
  }
  return found;
}

Field inverse(const Field& a) { return raised(a, minus(kPrime, small(2).n)); }

Number shifted(Number a, unsigned by) {
  for (std::size_t i = 0; i < 8; i++) {
    a[i] = a[i] >> by | (i < 7 ? a[i + 1] << (32 - by) : 0);
  }
  return a;
}

// (X, Y, Z, T) with x = X/Z, y = Y/Z and x*y = T/Z.
struct Point {
  Field x, y, z, t;
};

const Field& curve_d() {
  static const Field d = Field{} - small(121665) * inverse(small(121666));
  return d;
}

// RFC 8032, 5.1.4; complete, so it doubles as well.
Point add(const Point& a, const Point& b) {
  const Field p = (a.y - a.x) * (b.y - b.x);
  const Field q = (a.y + a.x) * (b.y + b.x);
  const Field once = a.t * b.t * curve_d();
  const Field r = once + once;
  const Field zz = a.z * b.z;
  const Field s = zz + zz;
  const Field e = q - p, f = s - r, g = s + r, h = q + p;
  return {e * f, g * h, f * g, e * h};
}

Number read(const std::uint8_t* data) {
  Number found{};
  for (std::size_t i = 0; i < 32; i++) found[i / 4] |= std::uint32_t{data[i]} << (8 * (i % 4));
  return found;
}

// The point that 32 bytes are, none where they are not the shortest form of one.
std::optional<Point> point(Number data) {
  const bool sign = bit(data, 255);
  data[7] &= 0x7fffffff;
  if (!less(data, kPrime)) return std::nullopt;
  const Field y{data}, one = small(1), square = y * y;
  const Field u = square - one, v = curve_d() * square + one;
  const Field v3 = v * v * v, v7 = v3 * v3 * v;
  Field x = u * v3 * raised(u * v7, shifted(minus(kPrime, small(5).n), 3));
  if (v * x * x == Field{} - u) {
    static const Field root = raised(small(2), shifted(minus(kPrime, one.n), 2));
    x = x * root;
  }
  if (!(v * x * x == u) || (is_zero(x.n) && sign)) return std::nullopt;
  if (bit(x.n, 0) != sign) x = Field{} - x;
  return Point{x, y, one, x * y};
}

const Point& base() {
  static const Point made = *point((small(4) * inverse(small(5))).n);
  return made;
}

// s*a + h*b, both scalars bit by bit at once.
Point twice(const Number& s, const Point& a, const Number& h, const Point& b) {
  const Point both = add(a, b);
  Point total{small(0), small(1), small(1), small(0)};
  for (int at = 252; at >= 0; at--) {
    total = add(total, total);
    const bool first = bit(s, at), second = bit(h, at);
    if (first || second) total = add(total, first && second ? both : first ? a : b);
  }
  return total;
}

// 512 bits modulo the order, bit by bit from the top.
Number modulo_order(const std::array<std::uint8_t, 64>& data) {
  Number found{};
  for (int at = 511; at >= 0; at--) {
    found = plus(found, found);
    found[0] |= static_cast<std::uint32_t>(data[at / 8] >> (at % 8) & 1);
    if (!less(found, kOrder)) found = minus(found, kOrder);
  }
  return found;
}

}  // namespace

bool ed25519_verify(const std::string& public_key, const std::string& message,
                    const std::string& signature) {
  if (public_key.size() != 32 || signature.size() != 64) return false;
  const auto* key_bytes = reinterpret_cast<const std::uint8_t*>(public_key.data());
  const auto* sig_bytes = reinterpret_cast<const std::uint8_t*>(signature.data());
  const std::optional<Point> key = point(read(key_bytes));
  const Number s = read(sig_bytes + 32);
  if (!key || !less(s, kOrder)) return false;
  Point eight = *key;
  for (int doubled = 0; doubled < 3; doubled++) eight = add(eight, eight);
  if (is_zero(eight.x.n)) return false;
  const Number h = modulo_order(sha512(signature.substr(0, 32) + public_key + message));
  const Point negative{Field{} - key->x, key->y, key->z, Field{} - key->t};
  const Point found = twice(s, base(), h, negative);
  const Field back = inverse(found.z);
  Number written = (found.y * back).n;
  if (bit((found.x * back).n, 0)) written[7] |= 0x80000000;
  return written == read(sig_bytes);
}

}  // namespace chipdrift
