// JSON as in RFC 8259, strictly; a name that comes twice in an object is refused.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace chipdrift {

struct JsonError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A value; asking for another type than it has, or for a name that an object lacks, is a JsonError.
class Json {
 public:
  using Object = std::map<std::string, Json>;
  using Array = std::vector<Json>;

  static Json parse(const std::string& text);

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  bool boolean() const { return as<bool>(); }
  double number() const { return as<double>(); }
  std::int64_t integer() const;
  const std::string& string() const { return as<std::string>(); }
  const Array& array() const { return as<Array>(); }
  const Object& object() const { return as<Object>(); }
  const Json& operator[](const std::string& name) const;
  // Nothing, if it is an array of strings alone.
  void strings() const;
  // Whether it is an array that holds this string.
  bool holds(const std::string& text) const;

 private:
  friend class JsonReader;
  template <typename T>
  const T& as() const {
    const T* found = std::get_if<T>(&value_);
    if (found == nullptr) throw JsonError("a value of another type");
    return *found;
  }
  std::variant<std::nullptr_t, bool, double, std::string, Array, Object> value_ = nullptr;
};

}  // namespace chipdrift
