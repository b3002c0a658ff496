#include "config/split_command.hpp"

namespace rooster::config {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {}

  std::expected<std::vector<std::string>, std::string> run() {
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (is_blank(c)) {
        finish_word();
      } else if (c == '\'') {
        if (!single_quoted()) return std::unexpected("a ' without its end");
      } else if (c == '"') {
        if (!double_quoted()) return std::unexpected("a \" without its end");
      } else if (c == '\\') {
        if (at_ == text_.size()) return std::unexpected("a lone \\ at the end");
        if (text_[at_] != '\n') put(text_[at_]);  // backslash newline joins two lines
        ++at_;
      } else {
        put(c);
      }
    }
    finish_word();
    return std::move(words_);
  }

 private:
  void put(char c) {
    word_ += c;
    in_word_ = true;
  }

  void finish_word() {
    if (in_word_) words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = false;
  }

  bool single_quoted() {
    in_word_ = true;  // '' is an empty word
    const auto end = text_.find('\'', at_);
    if (end == std::string_view::npos) return false;
    word_ += text_.substr(at_, end - at_);
    at_ = end + 1;
    return true;
  }

  bool double_quoted() {
    in_word_ = true;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      const bool escapes = c == '\\' && at_ < text_.size() &&
                           std::string_view("\"\\$`\n").find(text_[at_]) != std::string_view::npos;
      if (!escapes) {
        word_ += c;
        continue;
      }
      if (text_[at_] != '\n') word_ += text_[at_];
      ++at_;
    }
    return false;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::string> words_;
  std::string word_;
  bool in_word_ = false;
};

}  // namespace

std::expected<std::vector<std::string>, std::string> split_command(std::string_view command) {
  return Splitter(command).run();
}

std::string join_command(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& word : words) {
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_of(" \t\r\n'\"\\") == std::string::npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) {
      if (c == '\'') {
        line += "'\\''";
      } else {
        line += c;
      }
    }
    line += '\'';
  }
  return line;
}

}  // namespace rooster::config
