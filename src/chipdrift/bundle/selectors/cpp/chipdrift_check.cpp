// The golden self-check: outputs of a phone against what was measured.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include "chipdrift_bundle.h"

namespace chipdrift {
namespace {

double half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  double size = 0;
  if (exponent == 0x1f) {
    size = fraction == 0 ? std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    size = std::ldexp(fraction, -24);
  } else {
    size = std::ldexp(1024 + fraction, exponent - 25);
  }
  return (bits & 0x8000) == 0 ? size : -size;
}

// Little-endian bytes as a number of the same bits.
template <typename T>
std::vector<double> read(const std::string& data) {
  std::vector<double> found(data.size() / sizeof(T));
  for (std::size_t i = 0; i < found.size(); i++) {
    std::uint64_t bits = 0;
    for (std::size_t b = 0; b < sizeof(T); b++) {
      bits |= std::uint64_t{static_cast<unsigned char>(data[i * sizeof(T) + b])} << (8 * b);
    }
    if constexpr (sizeof(T) == 4) {
      const auto narrow = static_cast<std::uint32_t>(bits);
      T value;
      std::memcpy(&value, &narrow, sizeof(T));
      found[i] = static_cast<double>(value);
    } else if constexpr (sizeof(T) == 8) {
      T value;
      std::memcpy(&value, &bits, sizeof(T));
      found[i] = static_cast<double>(value);
    } else {
      found[i] = static_cast<double>(static_cast<T>(bits));
    }
  }
  return found;
}

std::vector<double> values(const std::string& dtype, const std::string& data) {
  if (dtype == "float32") return read<float>(data);
  if (dtype == "float64") return read<double>(data);
  if (dtype == "int8") return read<std::int8_t>(data);
  if (dtype == "uint8" || dtype == "bool") return read<std::uint8_t>(data);
  if (dtype == "int16") return read<std::int16_t>(data);
  if (dtype == "uint16") return read<std::uint16_t>(data);
  if (dtype == "int32") return read<std::int32_t>(data);
  if (dtype == "uint32") return read<std::uint32_t>(data);
  if (dtype == "int64") return read<std::int64_t>(data);
  if (dtype == "uint64") return read<std::uint64_t>(data);
  if (dtype == "float16") {
    std::vector<double> found = read<std::uint16_t>(data);
    for (double& one : found) one = half(static_cast<std::uint16_t>(one));
    return found;
  }
  throw BundleError("the bundle has an output of the unknown type " + dtype);
}

std::ptrdiff_t highest(const std::vector<double>& all) {
  return std::max_element(all.begin(), all.end()) - all.begin();
}

Verdict compare(const std::string& where, const Limit& limit, const std::string& given,
                const std::string& wanted, bool top) {
  if (given.size() != wanted.size()) {
    return {false, where + limit.name + " has " + std::to_string(given.size()) + " bytes, and " +
                       std::to_string(wanted.size()) + " were measured"};
  }
  const std::vector<double> found = values(limit.dtype, given);
  const std::vector<double> expected = values(limit.dtype, wanted);
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); i++) {
    if (found[i] == expected[i]) continue;
    const double apart = std::fabs(found[i] - expected[i]);
    worst = std::max(worst, std::isnan(apart) ? std::numeric_limits<double>::infinity() : apart);
  }
  const double step = limit.step > 0 ? limit.step : 1;
  if (worst > limit.most) {
    std::ostringstream words;
    words.precision(3);
    words << where << limit.name << " is " << worst / step << (limit.step > 0 ? " steps" : "")
          << " off what was measured, and " << limit.most / step << " are allowed";
    return {false, words.str(), worst / step};
  }
  if (top && highest(found) != highest(expected)) {
    return {false, where + "another answer than was measured", worst / step};
  }
  return {true, "", worst / step};
}

}  // namespace

Verdict Choice::check(const std::vector<std::vector<std::string>>& answers) const {
  if (expected.empty()) {
    return {true, "nothing to check: no answers were measured for this choice", 0};
  }
  if (answers.size() != expected.size()) {
    return {false, std::to_string(answers.size()) + " samples answered, of " +
                       std::to_string(expected.size())};
  }
  double worst = 0;
  for (std::size_t sample = 0; sample < expected.size(); sample++) {
    const std::string where = "sample " + std::to_string(sample) + ": ";
    if (answers[sample].size() != expected[sample].size()) {
      return {false, where + std::to_string(answers[sample].size()) + " outputs, of " +
                         std::to_string(expected[sample].size())};
    }
    for (std::size_t output = 0; output < limits.size(); output++) {
      const Verdict found = compare(where, limits[output], answers[sample][output],
                                    expected[sample][output], static_cast<int>(output) == top);
      if (!found.ok) return found;
      worst = std::max(worst, found.worst);
    }
  }
  return {true, "the answers are those that were measured", worst};
}

}  // namespace chipdrift
