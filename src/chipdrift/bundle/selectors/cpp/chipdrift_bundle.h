// Open a bundle that `chipdrift bundle` wrote, and pick what a chip gets. C++17, no dependency.
//
//   auto bundle = chipdrift::Bundle::open(folder, kPublicKeyHex);
//   auto choice = bundle.select(ro_soc_model, ro_soc_manufacturer, "2.51.0");
//   // Run choice.golden with choice.model and choice.options; with the NPU only if choice.npu.
//   if (!choice.check(answers).ok) choice = bundle.safe("the self-check failed");
//
// The public key belongs into the app: a key that is read from the bundle proves nothing. Whatever
// is wrong with a bundle is a BundleError with one sentence.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "chipdrift_json.h"

namespace chipdrift {

struct BundleError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One input of a golden sample: little-endian values in a file, without a header.
struct GoldenInput {
  std::string name;
  std::string dtype;  // NumPy's name: float32, uint8 and so on
  std::vector<std::int64_t> shape;
  std::string path;
};

// What a self-check found; `worst` is in steps of the output, or in the output's own unit.
struct Verdict {
  bool ok = false;
  std::string why;
  double worst = 0;
};

// A model that was compiled for this chip and SDK: `model` wraps `binary`.
struct Context {
  std::string model;
  std::string binary;
  std::string sdk;
};

// How far an output may be off; `step` is 0 where it has no quantizer.
struct Limit {
  std::string name;
  std::string dtype;
  double step = 0;
  double most = 0;
};

// What to load. The hashes of all its files were checked.
struct Choice {
  std::string variant;
  std::string model;
  bool npu = false;  // whether the NPU may be used at all
  std::string why;
  std::map<std::string, std::string> options;
  std::optional<Context> context;
  std::vector<std::vector<GoldenInput>> golden;  // empty where there is nothing to check

  // Hold the outputs of all golden samples, in order, against what was measured:
  // answers[sample][output] are the output's values, little-endian, in the model's order.
  Verdict check(const std::vector<std::vector<std::string>>& answers) const;

  std::vector<std::vector<std::string>> expected;
  std::vector<Limit> limits;
  int top = -1;
};

class Bundle {
 public:
  Bundle(const Bundle&) = delete;
  Bundle& operator=(const Bundle&) = delete;
  Bundle(Bundle&&) = default;
  Bundle& operator=(Bundle&&) = default;

  // `public_key` are the 64 hexadecimal digits that `chipdrift bundle` printed; `least_serial` is
  // the highest serial seen so far: an older bundle is refused, and one without its safe model.
  static Bundle open(const std::string& folder, const std::string& public_key,
                     std::int64_t least_serial = 0);

  std::string name() const { return told_["name"].string(); }
  // Rises from bundle to bundle: keep the highest seen, and give it to the next open.
  std::int64_t serial() const { return told_["serial"].integer(); }

  // What the chip gets that Android calls ro.soc.model and ro.soc.manufacturer. `qnn_sdk` is the
  // release of the QNN libraries that the app carries: without it, or with another, no precompiled
  // file is handed out.
  Choice select(const std::string& soc_model, const std::string& soc_manufacturer = "",
                const std::string& qnn_sdk = "") const;

  // The variant for a chip that nobody knows, with the NPU off.
  Choice safe(const std::string& why) const;

 private:
  Bundle(std::string folder, Json told);
  void consistent() const;
  Choice chosen(const Json& chip, const std::string& sdk) const;
  void golden(const Json& told, Choice& into) const;
  std::string model(const std::string& variant) const;
  void there(const std::string& variant) const;
  std::string sized(const std::string& name) const;
  std::string checked(const std::string& name) const;

  std::string folder_;
  Json told_;
  // These point into told_, whose values stay in place when it is moved.
  std::map<std::string, const Json*> files_;
  std::map<std::string, const Json*> variants_;
};

}  // namespace chipdrift
