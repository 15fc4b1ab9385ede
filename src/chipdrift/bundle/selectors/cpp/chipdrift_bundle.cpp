#include "chipdrift_bundle.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "chipdrift_crypto.h"

namespace chipdrift {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kSchemaVersion = 1;
constexpr std::size_t kMostManifest = std::size_t{16} << 20;

bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

// Parts of letters, digits, "_", "-" and ".", none of which begins with a dot, between slashes.
bool inside(const std::string& name) {
  bool fresh = true;
  for (char c : name) {
    if (c == '/') {
      if (fresh) return false;
      fresh = true;
    } else if (letter(c) || (c == '.' && !fresh)) {
      fresh = false;
    } else {
      return false;
    }
  }
  return !fresh;
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// The path; links and all that is no file are refused: they may lead out of the bundle.
fs::path plain(const std::string& folder, const std::string& name) {
  fs::path path = folder;
  std::size_t at = 0;
  while (at < name.size()) {
    const std::size_t slash = std::min(name.find('/', at), name.size());
    path /= name.substr(at, slash - at);
    std::error_code error;
    const fs::file_status found = fs::symlink_status(path, error);
    if (!fs::exists(found)) {
      throw BundleError(name + " of the bundle is not there: it is not whole");
    }
    if (!(slash == name.size() ? fs::is_regular_file(found) : fs::is_directory(found))) {
      throw BundleError(name + " of the bundle is no plain file");
    }
    at = slash + 1;
  }
  return path;
}

std::string small(const std::string& folder, const std::string& name, std::size_t most) {
  const fs::path path = plain(folder, name);
  std::error_code error;
  if (fs::file_size(path, error) > most) {
    throw BundleError(name + " is too long: it was changed");
  }
  std::ifstream stream(path, std::ios::binary);
  std::string data(std::istreambuf_iterator<char>(stream), {});
  if (!stream) throw BundleError(name + " of the bundle cannot be read");
  return data;
}

std::string unhex(const std::string& digits) {
  std::string found;
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2) {
    found += static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16));
  }
  return found;
}

Limit limit_of(const Json& told) {
  static const char* const kTypes[] = {"float16", "float32", "float64", "int8",   "uint8",  "bool",
                                       "int16",   "uint16",  "int32",   "uint32", "int64", "uint64"};
  const std::string& dtype = told["dtype"].string();
  if (std::find(std::begin(kTypes), std::end(kTypes), dtype) == std::end(kTypes)) {
    throw JsonError("an output of the unknown type " + dtype);
  }
  const double step = told["step"].is_null() ? 0 : told["step"].number();
  return {told["name"].string(), dtype, step, told["most"].number()};
}

bool is_key(const std::string& text) {
  return text.size() == 64 &&
         text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
}

}  // namespace

Bundle::Bundle(std::string folder, Json told) : folder_(std::move(folder)), told_(std::move(told)) {
  for (const Json& one : told_["files"].array()) files_[one["name"].string()] = &one;
  for (const Json& one : told_["variants"].array()) variants_[one["name"].string()] = &one;
}

Bundle Bundle::open(const std::string& folder, const std::string& public_key,
                    std::int64_t least_serial) {
  if (!is_key(public_key)) {
    throw BundleError(
        "the public key is no 64 hexadecimal digits: copy the line that chipdrift printed");
  }
  const std::string manifest = small(folder, "manifest.json", kMostManifest);
  const std::string signature = small(folder, "manifest.json.sig", 64);
  if (!ed25519_verify(unhex(public_key), manifest, signature)) {
    throw BundleError(
        "manifest.json is not signed by the app's key: it was changed or is somebody else's");
  }
  try {
    Json told = Json::parse(manifest);
    const std::int64_t version = told["schema_version"].integer();
    if (told["format"].string() != "chipdrift-bundle" || version != kSchemaVersion) {
      throw BundleError("manifest.json has schema version " + std::to_string(version) +
                        ", and this selector reads " + std::to_string(kSchemaVersion) +
                        ": carry the selector of the chipdrift that wrote it");
    }
    const std::int64_t serial = told["serial"].integer();
    if (serial < least_serial) {
      throw BundleError("the bundle's serial " + std::to_string(serial) + " is older than " +
                        std::to_string(least_serial) +
                        ", which was here before: an older bundle was put in its place");
    }
    Bundle bundle(folder, std::move(told));
    bundle.consistent();
    bundle.there(bundle.told_["safe"].string());
    return bundle;
  } catch (const JsonError& error) {
    throw BundleError(std::string("manifest.json is signed and cannot be read (") + error.what() +
                      "): carry the selector of the chipdrift that wrote it");
  }
}

// Throws where the manifest names what it does not have, or a file outside of the bundle.
void Bundle::consistent() const {
  for (const auto& [name, entry] : files_) {
    if (!inside(name)) throw BundleError("the bundle names a file outside of it: " + name);
    static_cast<void>((*entry)["size"].integer());
    static_cast<void>((*entry)["sha256"].string());
  }
  const auto file = [this](const Json& name) {
    if (files_.count(name.string()) == 0) throw JsonError("no file " + name.string());
  };
  const auto variant = [this](const Json& name) {
    if (variants_.count(name.string()) == 0) throw JsonError("no variant " + name.string());
  };
  for (const auto& [name, entry] : variants_) {
    file((*entry)["file"]);
    for (const Json& one : (*entry)["beside"].array()) file(one);
  }
  const std::size_t inputs = told_["golden"]["inputs"].array().size();
  const auto& samples = told_["golden"]["samples"].array();
  for (const Json& files : samples) {
    if (files.array().size() != inputs) throw JsonError("a sample without all inputs");
    for (const Json& one : files.array()) file(one);
  }
  variant(told_["safe"]);
  for (const Json& chip : told_["chips"].array()) {
    variant(chip["variant"]);
    static_cast<void>(chip["npu"].boolean());
    static_cast<void>(chip["why"].string());
    chip["names"].strings();
    chip["manufacturers"].strings();
    for (const auto& [key, value] : chip["options"].object()) static_cast<void>(value.string());
    if (!chip["context"].is_null()) {
      static_cast<void>(chip["context"]["sdk"].string());
      file(chip["context"]["file"]);
      file(chip["context"]["binary"]);
    }
    if (!chip["golden"].is_null()) {
      const auto& expected = chip["golden"]["expected"].array();
      const auto& limits = chip["golden"]["limits"].array();
      for (const Json& limit : limits) static_cast<void>(limit_of(limit));
      if (!chip["golden"]["top"].is_null()) static_cast<void>(chip["golden"]["top"].integer());
      if (expected.size() != samples.size()) throw JsonError("a sample without answers");
      for (const Json& files : expected) {
        if (files.array().size() != limits.size()) throw JsonError("answers without all outputs");
        for (const Json& one : files.array()) file(one);
      }
    }
  }
  told_["off"].strings();
  static_cast<void>(name());
  for (const Json& spec : told_["golden"]["inputs"].array()) {
    static_cast<void>(spec["name"].string());
    static_cast<void>(spec["dtype"].string());
    for (const Json& dim : spec["shape"].array()) static_cast<void>(dim.integer());
  }
}

Choice Bundle::select(const std::string& soc_model, const std::string& soc_manufacturer,
                      const std::string& qnn_sdk) const {
  const std::string model = trimmed(soc_model), maker = trimmed(soc_manufacturer);
  if (told_["off"].holds(model)) {
    return safe(model + " is on the list of chips whose NPU stays off");
  }
  for (const Json& chip : told_["chips"].array()) {
    const Json& makers = chip["manufacturers"];
    const bool ours = maker.empty() || makers.array().empty() || makers.holds(maker);
    if (ours && chip["names"].holds(model)) return chosen(chip, trimmed(qnn_sdk));
  }
  return safe("nobody has measured " + (model.empty() ? "a chip without a name" : model));
}

Choice Bundle::safe(const std::string& why) const {
  Choice found;
  found.variant = told_["safe"].string();
  found.model = model(found.variant);
  found.why = why;
  return found;
}

Choice Bundle::chosen(const Json& chip, const std::string& sdk) const {
  Choice found;
  found.variant = chip["variant"].string();
  found.model = model(found.variant);
  found.npu = chip["npu"].boolean();
  found.why = chip["why"].string();
  for (const auto& [key, value] : chip["options"].object()) found.options[key] = value.string();
  const Json& context = chip["context"];
  if (!context.is_null() && context["sdk"].string() == sdk) {
    const std::string binary = checked(context["binary"].string());
    found.context = Context{checked(context["file"].string()), binary, sdk};
  }
  if (!chip["golden"].is_null()) golden(chip["golden"], found);
  return found;
}

void Bundle::golden(const Json& told, Choice& into) const {
  const auto& specs = told_["golden"]["inputs"].array();
  for (const Json& files : told_["golden"]["samples"].array()) {
    std::vector<GoldenInput> inputs;
    for (std::size_t at = 0; at < specs.size(); at++) {
      GoldenInput input{specs[at]["name"].string(), specs[at]["dtype"].string(), {},
                        checked(files.array().at(at).string())};
      for (const Json& dim : specs[at]["shape"].array()) input.shape.push_back(dim.integer());
      inputs.push_back(std::move(input));
    }
    into.golden.push_back(std::move(inputs));
  }
  for (const Json& files : told["expected"].array()) {
    std::vector<std::string> outputs;
    for (const Json& one : files.array()) {
      checked(one.string());
      outputs.push_back(small(folder_, one.string(), std::string::npos));
    }
    into.expected.push_back(std::move(outputs));
  }
  for (const Json& one : told["limits"].array()) into.limits.push_back(limit_of(one));
  if (!told["top"].is_null()) into.top = static_cast<int>(told["top"].integer());
}

std::string Bundle::model(const std::string& variant) const {
  const Json& entry = *variants_.at(variant);
  for (const Json& one : entry["beside"].array()) checked(one.string());
  return checked(entry["file"].string());
}

// Throws where a variant's files lack, or are not as long as was signed; none is hashed.
void Bundle::there(const std::string& variant) const {
  const Json& entry = *variants_.at(variant);
  for (const Json& one : entry["beside"].array()) sized(one.string());
  sized(entry["file"].string());
}

// The file's path, once its size is what was signed.
std::string Bundle::sized(const std::string& name) const {
  const Json& entry = *files_.at(name);
  const fs::path path = plain(folder_, name);
  std::error_code error;
  if (fs::file_size(path, error) != static_cast<std::uintmax_t>(entry["size"].integer()) || error) {
    throw BundleError(name +
                      " has another size than was signed: it was changed or not fully copied");
  }
  return path.string();
}

// The file's path, once its size and hash are those that were signed.
std::string Bundle::checked(const std::string& name) const {
  const Json& entry = *files_.at(name);
  const std::string path = sized(name);
  std::ifstream stream(path, std::ios::binary);
  Sha256 digest;
  std::vector<char> block(std::size_t{1} << 16);
  while (stream) {
    stream.read(block.data(), static_cast<std::streamsize>(block.size()));
    digest.add(block.data(), static_cast<std::size_t>(stream.gcount()));
  }
  if (digest.hex() != entry["sha256"].string()) {
    throw BundleError(name + " is not what was signed: it was changed or not fully copied");
  }
  return path;
}

}  // namespace chipdrift
