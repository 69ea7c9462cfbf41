// A place for a file, or with `multiple` for some: chosen or dropped, they are sent at once.
export default {
  template: `
    <label class="kf-drop" :class="{ over, busy }" @dragover.prevent="over = true" @dragleave="over = false" @drop.prevent="dropped">
      <input type="file" :accept="accept" :multiple="multiple" :disabled="busy" @change="chosen" :aria-describedby="'told-' + url" />
      <b>{{ busy ? "Reading …" : label }}</b>
      <span :id="'told-' + url" aria-live="polite">{{ fault || told }}</span>
    </label>`,
  props: { url: String, label: String, told: String, accept: String, most: Number, multiple: Boolean, count: Number },
  data: () => ({ over: false, busy: false, fault: "" }),
  methods: {
    chosen(event) {
      this.send([...event.target.files]);
      event.target.value = "";
    },
    dropped(event) {
      this.over = false;
      this.send([...event.dataTransfer.files]);
    },
    async send(given) {
      const files = this.multiple ? given : given.slice(0, 1);
      if (!files.length || this.busy) return;
      this.fault = "";
      const name = files.length > 1 ? `These ${files.length} files are` : `${files[0].name} is`;
      if (files.length > (this.count || 1)) {
        this.fault = `${files.length} files are more than ${this.count}. Send a zip, or score the folder with: keepfit predict`;
        return;
      }
      if (files.reduce((sum, file) => sum + file.size, 0) > this.most) {
        this.fault = `${name} larger than ${Math.round(this.most / 2 ** 20)} MB. Score it with: keepfit predict`;
        return;
      }
      this.busy = true;
      const form = new FormData();
      files.forEach((file, place) => form.append(`file${place}`, file, file.name));
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
