#include "chipdrift_json.h"

#include <cmath>
#include <cstring>
#include <locale>
#include <sstream>

namespace chipdrift {

class JsonReader {
 public:
  explicit JsonReader(const std::string& text) : text_(text) {}

  Json whole() {
    Json found = value();
    blank();
    if (at_ != text_.size()) wrong();
    return found;
  }

 private:
  static constexpr int kDeepest = 64;

  [[noreturn]] void wrong() const {
    throw JsonError("no JSON at byte " + std::to_string(at_));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  static bool digit(char c) { return c >= '0' && c <= '9'; }

  void blank() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) != nullptr && text_[at_] != 0) {
      at_++;
    }
  }
  bool take(char wanted) {
    blank();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    at_++;
    return true;
  }
  bool word(const char* wanted) {
    const std::size_t size = std::strlen(wanted);
    if (text_.compare(at_, size, wanted) != 0) return false;
    at_ += size;
    return true;
  }

  Json value() {
    blank();
    if (at_ >= text_.size() || depth_ > kDeepest) wrong();
    Json found;
    const char first = peek();
    if (first == '{' || first == '[') {
      at_++;
      depth_++;
      if (first == '{') {
        found.value_ = object();
      } else {
        found.value_ = array();
      }
      depth_--;
    } else if (first == '"') {
      found.value_ = string();
    } else if (word("true")) {
      found.value_ = true;
    } else if (word("false")) {
      found.value_ = false;
    } else if (!word("null")) {
      found.value_ = number();
    }
    return found;
  }

  Json::Object object() {
    Json::Object found;
    if (take('}')) return found;
    do {
      blank();
      const std::string name = string();
      if (!take(':') || !found.emplace(name, value()).second) wrong();
    } while (take(','));
    if (!take('}')) wrong();
    return found;
  }

  Json::Array array() {
    Json::Array found;
    if (take(']')) return found;
    do {
      found.push_back(value());
    } while (take(','));
    if (!take(']')) wrong();
    return found;
  }

  std::string string() {
    if (peek() != '"') wrong();
    at_++;
    std::string found;
    while (at_ < text_.size()) {
      const char next = text_[at_++];
      if (next == '"') return found;
      if (static_cast<unsigned char>(next) < 0x20) wrong();
      if (next == '\\') {
        escaped(found);
      } else {
        found += next;
      }
    }
    wrong();
  }

  void escaped(std::string& into) {
    static const char kFrom[] = "\"\\/bfnrt";
    static const char kTo[] = "\"\\/\b\f\n\r\t";
    const char kind = peek();
    if (kind == 'u') {
      at_++;
      std::uint32_t code = hex();
      if (code >= 0xd800 && code < 0xdc00) {
        if (!word("\\u")) wrong();
        const std::uint32_t low = hex();
        if (low < 0xdc00 || low > 0xdfff) wrong();
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      }
      utf8(code, into);
      return;
    }
    const char* place = kind == '\0' ? nullptr : std::strchr(kFrom, kind);
    if (place == nullptr) wrong();
    at_++;
    into += kTo[place - kFrom];
  }

  std::uint32_t hex() {
    std::uint32_t found = 0;
    for (int count = 0; count < 4; count++) {
      static const char kDigits[] = "0123456789abcdef0123456789ABCDEF";
      const char* place = peek() == '\0' ? nullptr : std::strchr(kDigits, peek());
      if (place == nullptr) wrong();
      found = found * 16 + static_cast<std::uint32_t>((place - kDigits) % 16);
      at_++;
    }
    return found;
  }

  static void utf8(std::uint32_t code, std::string& into) {
    const auto tail = [&](int shift) {
      into += static_cast<char>(0x80 | (code >> shift & 0x3f));
    };
    if (code < 0x80) {
      into += static_cast<char>(code);
    } else if (code < 0x800) {
      into += static_cast<char>(0xc0 | code >> 6);
      tail(0);
    } else if (code < 0x10000) {
      into += static_cast<char>(0xe0 | code >> 12);
      tail(6);
      tail(0);
    } else {
      into += static_cast<char>(0xf0 | code >> 18);
      tail(12);
      tail(6);
      tail(0);
    }
  }

  double number() {
    const std::size_t start = at_;
    if (peek() == '-') at_++;
    if (peek() == '0') {
      at_++;
    } else {
      digits();
    }
    if (peek() == '.') {
      at_++;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      at_++;
      if (peek() == '+' || peek() == '-') at_++;
      digits();
    }
    // Not strtod: it reads by the locale that the app has set.
    std::istringstream stream(text_.substr(start, at_ - start));
    stream.imbue(std::locale::classic());
    double found = 0;
    if (!(stream >> found) || !std::isfinite(found)) wrong();
    return found;
  }

  void digits() {
    if (!digit(peek())) wrong();
    while (digit(peek())) at_++;
  }

  const std::string& text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

Json Json::parse(const std::string& text) { return JsonReader(text).whole(); }

std::int64_t Json::integer() const {
  const double found = number();
  // Beyond 2^53 a double has no odd numbers.
  if (found != std::floor(found) || std::fabs(found) > 9007199254740992.0) {
    throw JsonError("no whole number");
  }
  return static_cast<std::int64_t>(found);
}

const Json& Json::operator[](const std::string& name) const {
  const Object& members = object();
  const auto found = members.find(name);
  if (found == members.end()) throw JsonError("no " + name);
  return found->second;
}

void Json::strings() const {
  for (const Json& one : array()) static_cast<void>(one.string());
}

bool Json::holds(const std::string& text) const {
  for (const Json& one : array()) {
    if (one.string() == text) return true;
  }
  return false;
}

}  // namespace chipdrift
