// Asks the selector what a line says, and answers with a line. See selector_process.py.
#include <filesystem>
#include <iostream>
#include <optional>
#include <sstream>

#include "chipdrift_bundle.h"
#include "chipdrift_crypto.h"

namespace {

std::optional<chipdrift::Bundle> bundle;
chipdrift::Choice choice;

std::vector<std::string> parted(const std::string& text, char by) {
  std::vector<std::string> found(1);
  for (char c : text) {
    if (c == by) {
      found.emplace_back();
    } else {
      found.back() += c;
    }
  }
  return found;
}

std::string unhex(const std::string& digits) {
  std::string found;
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2) {
    found += static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16));
  }
  return found;
}

std::string told() {
  std::ostringstream out;
  out << choice.variant << '\t' << choice.model << '\t' << (choice.npu ? "true" : "false") << "\t{";
  const char* between = "";
  for (const auto& [key, value] : choice.options) {
    out << between << key << '=' << value;
    between = ", ";
  }
  out << "}\t" << (choice.context ? choice.context->model : "-") << '\t' << choice.why;
  return out.str();
}

std::string golden() {
  std::ostringstream out;
  out << choice.golden.size();
  for (const auto& sample : choice.golden) {
    for (const auto& input : sample) {
      out << '\t' << input.name << ':' << input.dtype << ":[";
      const char* between = "";
      for (auto dim : input.shape) {
        out << between << dim;
        between = ",";
      }
      out << "]:" << std::filesystem::path(input.path).filename().string();
    }
  }
  return out.str();
}

std::string answer(const std::vector<std::string>& words) {
  if (words[0] == "verify") {
    const bool ok = chipdrift::ed25519_verify(unhex(words[1]), unhex(words[2]), unhex(words[3]));
    return ok ? "true" : "false";
  }
  if (words[0] == "open") {
    bundle.emplace(chipdrift::Bundle::open(words[1], words[2], std::stoll(words[3])));
    return bundle->name() + '\t' + std::to_string(bundle->serial());
  }
  if (words[0] == "select") {
    choice = bundle->select(words[1], words[2], words[3]);
    return told();
  }
  if (words[0] == "safe") {
    choice = bundle->safe(words[1]);
    return told();
  }
  if (words[0] == "golden") return golden();
  std::vector<std::vector<std::string>> answers;
  for (std::size_t at = 1; at < words.size(); at++) {
    answers.emplace_back();
    for (const auto& output : parted(words[at], ',')) answers.back().push_back(unhex(output));
  }
  const chipdrift::Verdict verdict = choice.check(answers);
  return std::string(verdict.ok ? "true" : "false") + '\t' + verdict.why;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << answer(parted(line, '\t')) << std::endl;
    } catch (const chipdrift::BundleError& error) {
      std::cout << "refused\t" << error.what() << std::endl;
    }
  }
}
