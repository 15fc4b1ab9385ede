// SHA-256, and Ed25519 as in RFC 8032, to verify only. C++17, nothing but the standard library.
// Nothing here is secret, so nothing has to be constant in time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace chipdrift {

class Sha256 {
 public:
  Sha256();
  void add(const void* data, std::size_t size);
  // Hexadecimal; nothing may be added afterwards.
  std::string hex();

 private:
  void block(const std::uint8_t* data);
  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> rest_{};
  std::size_t held_ = 0;
  std::uint64_t total_ = 0;
};

std::array<std::uint8_t, 64> sha512(const std::string& data);

// Whether `signature` (64 bytes) over `message` is of `public_key` (32 bytes). Refused as well: S
// that is not below the group's order, for which a signature has twins; keys of small order, for
// which anybody can sign; a key or R that is not written in its shortest form.
bool ed25519_verify(const std::string& public_key, const std::string& message,
                    const std::string& signature);

}  // namespace chipdrift
