// FIPS 180-4. The constants are what the standard says they are: the first bits of the roots of the
// first primes, computed here with integers alone.
#include <cstring>

#include "chipdrift_crypto.h"

namespace chipdrift {
namespace {

// 64 bits of the fraction of prime^(1/power), for power 2 or 3, by bisection: the largest r with
// r^power <= prime * 2^(64 * power), whose lowest 64 bits are the fraction. Numbers are little-endian
// limbs of 32 bits.
using Wide = std::array<std::uint32_t, 10>;

Wide times(const Wide& a, const Wide& b) {
  Wide found{};
  for (std::size_t i = 0; i < found.size(); i++) {
    std::uint64_t carry = 0;
    for (std::size_t j = 0; i + j < found.size(); j++) {
      carry += found[i + j] + std::uint64_t{a[i]} * b[j];
      found[i + j] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
  }
  return found;
}

bool above(const Wide& a, const Wide& b) {
  for (std::size_t i = a.size(); i-- > 0;) {
    if (a[i] != b[i]) return a[i] > b[i];
  }
  return false;
}

std::uint64_t root(unsigned prime, unsigned power) {
  Wide wanted{};
  wanted[2 * power] = prime;
  Wide found{};
  for (int bit = 68; bit >= 0; bit--) {
    Wide next = found;
    next[bit / 32] |= std::uint32_t{1} << (bit % 32);
    Wide raised = times(next, next);
    if (power == 3) raised = times(raised, next);
    if (!above(raised, wanted)) found = next;
  }
  return (std::uint64_t{found[1]} << 32) | found[0];
}

struct Constants {
  std::array<std::uint64_t, 8> start{};
  std::array<std::uint64_t, 80> round{};

  Constants() {
    unsigned prime = 2;
    for (std::size_t i = 0; i < round.size(); prime++) {
      bool divides = false;
      for (unsigned d = 2; d * d <= prime; d++) divides = divides || prime % d == 0;
      if (divides) continue;
      if (i < start.size()) start[i] = root(prime, 2);
      round[i++] = root(prime, 3);
    }
  }
};

const Constants& constants() {
  static const Constants made;
  return made;
}

template <typename Word>
Word turned(Word value, unsigned by) {
  return static_cast<Word>(value >> by | value << (8 * sizeof(Word) - by));
}

// SHA-256 and SHA-512 differ in the word, in the rounds and in these amounts.
struct Amounts {
  unsigned big0[3], big1[3], small0[3], small1[3];
};
constexpr Amounts kShort = {{2, 13, 22}, {6, 11, 25}, {7, 18, 3}, {17, 19, 10}};
constexpr Amounts kLong = {{28, 34, 39}, {14, 18, 41}, {1, 8, 7}, {19, 61, 6}};

template <typename Word, std::size_t Rounds>
void compress(std::array<Word, 8>& state, const std::uint8_t* data, const Amounts& by) {
  const auto& round = constants().round;
  std::array<Word, Rounds> w;
  for (std::size_t i = 0; i < Rounds; i++) {
    if (i < 16) {
      w[i] = 0;
      for (std::size_t b = 0; b < sizeof(Word); b++) {
        w[i] = static_cast<Word>(w[i] << 8 | data[sizeof(Word) * i + b]);
      }
      continue;
    }
    Word x = w[i - 15], y = w[i - 2];
    Word s0 = turned(x, by.small0[0]) ^ turned(x, by.small0[1]) ^ (x >> by.small0[2]);
    Word s1 = turned(y, by.small1[0]) ^ turned(y, by.small1[1]) ^ (y >> by.small1[2]);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  std::array<Word, 8> v = state;
  for (std::size_t i = 0; i < Rounds; i++) {
    Word s1 = turned(v[4], by.big1[0]) ^ turned(v[4], by.big1[1]) ^ turned(v[4], by.big1[2]);
    Word chosen = (v[4] & v[5]) ^ (~v[4] & v[6]);
    // A word of SHA-256 has the first 32 of the same fraction's bits.
    Word key = static_cast<Word>(round[i] >> (64 - 8 * sizeof(Word)));
    Word one = v[7] + s1 + chosen + key + w[i];
    Word s0 = turned(v[0], by.big0[0]) ^ turned(v[0], by.big0[1]) ^ turned(v[0], by.big0[2]);
    Word two = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    v = {one + two, v[0], v[1], v[2], v[3] + one, v[4], v[5], v[6]};
  }
  for (std::size_t i = 0; i < 8; i++) state[i] += v[i];
}

}  // namespace

Sha256::Sha256() {
  for (std::size_t i = 0; i < 8; i++) {
    state_[i] = static_cast<std::uint32_t>(constants().start[i] >> 32);
  }
}

void Sha256::block(const std::uint8_t* data) { compress<std::uint32_t, 64>(state_, data, kShort); }

void Sha256::add(const void* data, std::size_t size) {
  const auto* from = static_cast<const std::uint8_t*>(data);
  total_ += size;
  while (size > 0) {
    std::size_t taken = rest_.size() - held_ < size ? rest_.size() - held_ : size;
    std::memcpy(rest_.data() + held_, from, taken);
    held_ += taken;
    from += taken;
    size -= taken;
    if (held_ == rest_.size()) {
      block(rest_.data());
      held_ = 0;
    }
  }
}

std::string Sha256::hex() {
  const std::uint64_t bits = 8 * total_;
  const std::uint8_t one = 0x80, zero = 0;
  add(&one, 1);
  while (held_ != 56) add(&zero, 1);
  for (int at = 7; at >= 0; at--) {
    const auto byte = static_cast<std::uint8_t>(bits >> (8 * at));
    add(&byte, 1);
  }
  std::string found;
  for (std::uint32_t word : state_) {
    for (int at = 28; at >= 0; at -= 4) found += "0123456789abcdef"[word >> at & 15];
  }
  return found;
}

std::array<std::uint8_t, 64> sha512(const std::string& data) {
  std::array<std::uint64_t, 8> state = constants().start;
  std::string padded = data + '\x80';
  padded.append((240 - padded.size() % 128) % 128, '\0');
  const std::uint64_t bits = 8 * static_cast<std::uint64_t>(data.size());
  padded.append(8, '\0');
  for (int at = 7; at >= 0; at--) padded += static_cast<char>(bits >> (8 * at));
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(padded.data());
  for (std::size_t at = 0; at < padded.size(); at += 128) {
    compress<std::uint64_t, 80>(state, bytes + at, kLong);
  }
  std::array<std::uint8_t, 64> found{};
  for (std::size_t i = 0; i < 64; i++) {
    found[i] = static_cast<std::uint8_t>(state[i / 8] >> (56 - 8 * (i % 8)));
  }
  return found;
}

}  // namespace chipdrift
