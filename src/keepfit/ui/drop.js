// A place for one file: chosen or dropped, it is sent at once.
export default {
  template: `
    <label class="kf-drop" :class="{ over, busy }" @dragover.prevent="over = true" @dragleave="over = false" @drop.prevent="dropped">
      <input type="file" :accept="accept" :disabled="busy" @change="chosen" :aria-describedby="'told-' + url" />
      <b>{{ busy ? "Reading …" : label }}</b>
      <span :id="'told-' + url" aria-live="polite">{{ fault || told }}</span>
    </label>`,
  props: { url: String, label: String, told: String, accept: String, most: Number },
  data: () => ({ over: false, busy: false, fault: "" }),
  methods: {
    chosen(event) {
      this.send(event.target.files[0]);
      event.target.value = "";
    },
    dropped(event) {
      this.over = false;
      this.send(event.dataTransfer.files[0]);
    },
    async send(file) {
      if (!file || this.busy) return;
      this.fault = "";
      if (file.size > this.most) {
        this.fault = `${file.name} is larger than ${Math.round(this.most / 2 ** 20)} MB. Score it with: keepfit predict`;
        return;
      }
      this.busy = true;
      const form = new FormData();
      form.append("file", file, file.name);
      try {
        const answer = await fetch(this.url, { method: "POST", body: form });
        if (!answer.ok) this.fault = `The file was not taken (${answer.status}). Reload the page and try again.`;
      } catch {
        this.fault = "The server cannot be reached. Is it still running?";
      }
      this.busy = false;
    },
  },
};
