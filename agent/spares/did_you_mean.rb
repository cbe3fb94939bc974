# Keeps a Ruby interpreter waiting for its program. Ruby opens its script and
# looks at the first byte, loads its own start-up libraries, the last of which it
# finds here (RUBYLIB), and parses the script when this is done. So its file must
# be there, a line that says nothing, when ruby starts; it is begun anew.
lambda do |hook|
  script = ObjectSpace.each_object(File).find { |file| file.path == "main.rb" }
  # A parser that has read it already (Ruby 3.4 on) cannot be given another.
  exit!(1) if script.nil? || RUBY_DESCRIPTION.include?("+PRISM")
  ENV.delete("RUBYLIB")
  $LOAD_PATH.delete(File.dirname(hook))
  require "did_you_mean"

  ready = IO.for_fd(4, "wb")
  ready.syswrite("R")
  ready.close
  go = IO.for_fd(3, "rb")
  count, *rest = go.read.split("\0", -1)[0..-2]
  go.close
  locale = Encoding.find("locale")
  rest.shift(count.to_i).each do |argument|
    plain = locale != Encoding::US_ASCII || argument.ascii_only?
    ARGV << argument.force_encoding(plain ? locale : Encoding::BINARY).freeze
  end
  ENV.delete("PADDOCK_SPARE")
  rest.each do |entry|
    name, value = entry.split("=", 2)
    ENV[name] = value
  end
  script.rewind
  # Options of a first line "#!ruby -w" are for the interpreter's start.
  exec("ruby", "main.rb", *ARGV) if script.read(2) == "#!"
  script.rewind
  # Only what could not be loaded is not noted as loaded. Ruby would warn of it.
  Warning.singleton_class.define_method(:warn) do |message, **options|
    singleton_class.remove_method(:warn)
    super(message, **options) unless message.include?("did_you_mean")
  end
  raise LoadError
end.call(__FILE__)
